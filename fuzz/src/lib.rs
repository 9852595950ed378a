//! The fuzz targets as functions, for the fuzzer and for the tests, which need no fuzzer.

pub mod certificate;
pub mod costly;
pub mod engine;
pub mod framing;
pub mod gunzip;
pub mod identity;
pub mod policy;
pub mod quotas;
pub mod request;
pub mod splice;
pub mod splice_json;
pub mod unzstd;
