// Package private has folders for files with secrets: keys of certificates, that the process makes and keeps.
//
// It knows no format and no certificate. The files are written beside their name, brought to the disk and renamed, so
// that each is whole or not there, whatever ends the process.
//
//	New ──► Folder ── HandOver ──► Read, Replace, Create, Remove
//
// # Owners
//
// A process that starts as root and becomes a user makes the folder as root. HandOver gives it to the user with the
// files in it. The next start is as root again, in a folder that the user could fill with links meanwhile: every call
// checks owner and permissions of folder and file through descriptors (os.Root), and a link is never followed out of
// the folder. A folder or a file that others may write is refused, with the command that mends it: others could know
// the secret by then.
//
// # Threads
//
// A Folder is immutable, and each call opens it again: it may be removed, mounted or exchanged at any time. Two
// processes may write in one folder: the last rename counts, and Create keeps the first
// text.
package private
