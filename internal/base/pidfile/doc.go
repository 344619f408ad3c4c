// Package pidfile keeps the file that holds the number of a process, and finds the process by it.
//
// # Whose file it is
//
// The process that serves has the file open and holds it by flock(2). The number in the file is for people and scripts.
// A process that was killed leaves the file without a lock, so the next start takes it.
//
// # Threads and ownership
//
// A File belongs to the goroutine that took it. Find and Instance are safe for any goroutine.
//
// # Limits
//
// Take waits 200 ms at most for processes that only look, and opens the file ten times at most where others remove it.
// A file system without locks keeps no second process away.
package pidfile
