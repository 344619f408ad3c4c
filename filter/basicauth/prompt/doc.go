// Package prompt reads a password from a person at a terminal, or from a pipe.
//
//	password, err := prompt.Read(os.Stdin, os.Stderr)
//
// A terminal shows nothing of what is typed, and asks for it twice. It is set back before Read returns, whatever ended
// the typing: the keys that interrupt a program are characters meanwhile, so that no signal ends the process with the
// terminal as it is. Backspace takes a character back, Ctrl-U all of them, Ctrl-C and Ctrl-D give up.
//
// # Limits
//
// What is no terminal has the password as its first line, without the end of the line. No password is longer than a
// kilobyte.
//
// # Threads
//
// Read blocks, and is not safe for more than one goroutine at a time.
package prompt
