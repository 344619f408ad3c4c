// Package static has a destination that answers with the files of a folder: the type "static" of [destinations], and
// dest = "static:/srv/www".
//
// Conditions and types are the work of http.ServeContent, and a Range is read by internal/cache/policy: one reader for
// files and stored answers. This package chooses the file:
//
//	path ─► try, one after the other ─► a file                          ─► its sibling .zst, .br, .gz, or itself
//	                                 ─► a folder with a file of index   ─► that file, or 301 to the path with a slash
//	                                 ─► a folder, where listing is on   ─► its list, made once for a second
//	                                 ─► nothing: 404, with the page of the route
//
// # What is not served
//
// Files are opened by os.Root, which no path leaves, neither by ".." nor by a link, whatever is renamed meanwhile. A
// path with a backslash, a NUL or an encoded slash names nothing. FIFOs, devices and sockets are not opened, and names
// that begin with a dot are not there unless hidden is set, but for /.well-known.
//
// # Concurrency
//
// A destination is immutable, and safe for all reactors. A request for a file that is not held has a goroutine of
// package handler while it is looked for, so a slow disk delays no other request: as many as there may be of these, and
// beyond them 503. The bytes of a file or a list go to the client without one, but for conditions that
// http.ServeContent decides.
//
// # Life cycle
//
// New opens the folder. A reload opens it again, so that a folder that was moved there is served from then on; requests
// under way go on with the files that they have.
package static
