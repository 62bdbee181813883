//! A stand-in for Amazon SQS.
