// Package acme has the keys of certificates by ACME in edge.toml: the section [acme], as rows of the schema. It orders
// nothing: package server makes a plan for package internal/tls/certs/issue of them.
//
//	[acme]                   Of         the authorities, the account, where certificates are kept
//	cert = "acme"            Subjects   the hosts of an entry of [[certificates]] have one certificate
//	hosts = "from-routes"               each exact host of a route that no other certificate is for has one
//
// # Life cycle
//
// The section is registered with package config, which knows its entry as config.Orders: it asks it for each host of a
// route without a certificate, and tells it of each cert = "acme". Routes, listeners and files of certificates are
// known by then.
package acme
