// Decodes messages with three versions of protobufjs. A line of stdin is `VERSION BASE64`. A line of stdout has the
// attributes of each entry's Resource with their strings, maps flattened, or `error: ` and the reason.
"use strict";

const readline = require("node:readline");

const SCHEMA = `syntax = "proto3";
message Request { repeated Entry entries = 1; }
message Entry { Resource resource = 1; string schema_url = 3; }
message Resource { repeated KeyValue attributes = 1; uint32 dropped_attributes_count = 2; }
message KeyValue { string key = 1; AnyValue value = 2; int32 key_strindex = 3; }
message ArrayValue { repeated AnyValue values = 1; }
message KeyValueList { repeated KeyValue values = 1; }
message AnyValue { oneof value {
  string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4;
  ArrayValue array_value = 5; KeyValueList kvlist_value = 6; bytes bytes_value = 7; int32 string_value_strindex = 8;
} }`;

const requests = new Map();

function request(version) {
  if (!requests.has(version)) {
    const root = require(`protobufjs${version}`).parse(SCHEMA, { keepCase: false }).root;
    requests.set(version, root.lookupType("Request"));
  }
  return requests.get(version);
}

function flatten(attributes, prefix = "") {
  return (attributes ?? []).flatMap(({ key, value }) => {
    const name = prefix + (key ?? "");
    return value?.value === "kvlistValue"
      ? flatten(value.kvlistValue.values, `${name}.`)
      : [[name, value?.value === "stringValue" ? value.stringValue : ""]];
  });
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [version, message] = line.split(" ");
  let text;
  try {
    const decoded = request(version).decode(Buffer.from(message ?? "", "base64"));
    text = JSON.stringify(decoded.entries.map((entry) => flatten(entry.resource?.attributes)));
  } catch (error) {
    text = `error: ${String(error.message).replaceAll("\n", " ")}`;
  }
  process.stdout.write(`${text}\n`);
});
