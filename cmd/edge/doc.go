// Command edge is an HTTP reverse proxy. It is thin: it reads flags and a configuration, prints what people read, and
// leaves the rest to packages server and internal/process.
//
//	edge                    the configuration in ./edge.toml or /etc/edge/edge.toml, else a hello page on :8080
//	edge run F              the configuration in F
//	edge -d -c F            the same in the background
//	edge check F            reads F, says what is wrong with it, starts nothing
//	edge explain URL        says where a request goes, and why
//	edge reload, edge stop  tells the process that serves the configuration; edge status finds it
//	edge routes, upstreams, conns, certs, drain, enable, log: ask it over its admin surface
//	edge proxy              a proxy without a file: edge proxy --from :8080 --to localhost:3000
//	edge doctor             says what is wrong with the machine, and which line mends it
//	edge serve-demo         an origin to try it with
//	edge bench              measures, or loads a URL: runs edge-bench, where it stands beside edge
//	edge build              makes an edge that is linked with modules of others; edge modules lists what is linked
//	edge completion SHELL   what a shell needs to complete all that
//	edge version
//
// # Exit codes
//
//	0  all went well; a signal ended the process as it should
//	1  the configuration is wrong, or the process could not start
//	2  edge check --strict found warnings; or the command line is wrong
package main
