// Package admin is the surface by which operators see and change a running process: an HTTP API with JSON on a Unix
// socket or a TCP address, its description in OpenAPI, and the client of it that commands use.
//
// It knows no running server: it asks a Process, which internal/process implements. It serves no requests of the
// proxy and has no HTML.
//
// One table, Endpoints, says of each operation its method, path, types, rights and documentation. The routes of the
// server, the OpenAPI document, the help of commands and a part of docs/admin.md are made from it.
//
// # The way of a request
//
//	accept ─► connection limit ─► Host ─► Origin ─► rights ─► route ─► Process
//
// Rights come from the user at the other end of a Unix socket, or from a token or a client certificate over TCP. Each
// change is logged with the user and the process that asked for it.
//
// # Life cycle
//
//	New ─► Prepare ─► commit ─► Start ─► Prepare … ─► Stop
//
// Prepare opens the addresses of a configuration, and commit puts them in the place of those before: a reload moves
// the surface. Start begins to serve.
//
// # Threads and ownership
//
// Surfaces are safe for any goroutine; connections are served by net/http on goroutines of their own, never on a
// reactor. A Process is asked from any goroutine.
//
// # Limits
//
// 64 connections an address, of which others wait in the kernel; 5 s for a head, 30 s between two requests; bodies of
// 1 MiB; 3 expensive calls at a time, and one of the owner; 1000 connections a page.
package admin
