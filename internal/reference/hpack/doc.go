// Package hpack codes header blocks of HTTP/2 for tests, from RFC 7541 in the plainest way: bit by bit, and with a
// search through the whole table for each field. Package http2 beside it says why it exists.
//
// An Encoder puts every field that is not Sensitive into its table, and codes the strings that get shorter by that. A
// Decoder takes what RFC 7541 allows, with integers of up to five octets after the first.
//
// # Ownership and limits
//
// An Encoder and a Decoder belong to one direction of one connection, and to one goroutine. They bound nothing but
// their tables.
package hpack
