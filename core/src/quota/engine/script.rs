//! The script that the engine runs: it pays debts off by the engine's clock, adds what was reported, and answers the
//! debts.
//!
//! `ARGV[1]` has the rate of each limit in units per second, `ARGV[2]` for each key and limit the amount and the debt
//! that the replica knows, all as 64-bit floats. The answer has the debt of each key and limit. Where the engine has no
//! debt, because it was paid off or because the engine was emptied, the replica's counts.
//!
//! A key expires when its debts are paid off. Values have the time of the last report and the debts.

/// The script, in Lua 5.1.
pub(super) const SCRIPT: &str = "\
local t=redis.call('TIME') local now=t[1]+t[2]/1e6
local rates,body,out=ARGV[1],ARGV[2],{}
local n,at=#rates/8,1
for _,key in ipairs(KEYS) do
local old=redis.call('GET',key)
if old and #old~=8*n+8 then old=nil end
local gone=old and math.max(0,now-struct.unpack('<d',old)) or 0
local new,ttl={struct.pack('<d',now)},0
for i=1,n do
local rate=struct.unpack('<d',rates,8*i-7)
local amount,debt=struct.unpack('<dd',body,at) at=at+16
if old then debt=math.max(0,struct.unpack('<d',old,8*i+1)-gone*rate)+amount end
if not(debt>0) then debt=0 end
ttl=math.max(ttl,debt/rate)
new[i+1]=struct.pack('<d',debt) out[#out+1]=new[i+1]
end
if ttl>0 then redis.call('SET',key,table.concat(new),'PX',math.ceil(math.min(ttl,86400)*1000)+1000)
elseif old then redis.call('DEL',key) end
end
return table.concat(out)";

/// The script's SHA-1 in hex, by which the engine finds it.
pub(super) const SHA1: &str = "ac6f4648c83ad3017c7cc2c0c4d31262e9eacba2";

/// The script by which a replica joins the list of those that report, in Lua 5.1. It answers how many there were in the
/// last 15 s, and how many of them have other limits, as 64-bit floats.
///
/// `KEYS[1]` is the list: for each replica 8 bytes that name it, 8 bytes of a hash of its limits, and the time when it
/// came last. It has at most 256, for which the script takes less than a millisecond. `ARGV[1]` has the first two of
/// this replica.
pub(super) const JOIN: &str = "\
local t=redis.call('TIME') local now=t[1]+t[2]/1e6
local list,me=redis.call('GET',KEYS[1]) or '',ARGV[1]
local new,others={me..struct.pack('<d',now)},0
for at=1,#list-23,24 do
local age=now-struct.unpack('<d',list,at+16)
if string.sub(list,at,at+7)~=string.sub(me,1,8) and age>-15 and age<15 and #new<256 then
new[#new+1]=string.sub(list,at,at+23)
if string.sub(list,at+8,at+15)~=string.sub(me,9,16) then others=others+1 end
end
end
redis.call('SET',KEYS[1],table.concat(new),'PX',15000)
return struct.pack('<dd',#new,others)";

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_script() {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, SHA1);
    }
}
