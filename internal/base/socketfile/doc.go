// Package socketfile changes and removes the file of a Unix socket that this process has made, for a process that may
// be root's.
//
// It makes no socket. In a folder that another user may write, a path can lead to any file of root's by the time its
// mode or owner is changed. So a File holds the socket open, and changes go to that file.
//
// Made opens the file of a socket that was just bound, Adopt the file of another process. Remove or Close ends it. A
// File belongs to its maker, one goroutine at a time.
//
// # Limits
//
// Between bind(2) and Made only a socket of this user with a single name can take the place
// of the right one: root has no other one in a folder where that matters. A mode that is not right already needs Linux
// 6.6, or /proc; without them Give fails. It is for Linux alone.
package socketfile
