// Package language gives the texts of a configuration in the language of package lang their meaning: it reads the
// sections [lists], [maps], [secrets] and [geo], and compiles conditions and templates with the names that these
// define.
//
// It is not the language, and it does not know which key takes a condition: packages above ask it for each.
//
//	[lists.office]  [maps.up]  [secrets]          when = 'client.ip in list.office'
//	       └────────────┴─────────┘                              │
//	                  Read                                       ▼
//	                    └──────────► Language ──────► Condition, Template
//	                                    │ Commit
//	                                    ▼
//	                                  Tables: the handles of the process
//
// A mistake in a text is reported inside the string that has it, with the hint of the language.
//
// # Tables
//
// A compiled condition asks a handle of package table, which outlives the configuration: a reload swaps what the handle
// has. Tables are the handles of a process, by name and kind. Read prepares the content of each list and map, for the
// handle of that name or for a new one, and Commit swaps it in with the configuration. Without Tables the handles
// belong to the configuration alone: so it is when one is only checked.
//
// # Threads
//
// Read opens files, computes and sleeps: it is for workers. A Language is immutable after Read, but for Commit, and
// safe for any goroutine. Tables are safe for any goroutine.
//
// # Limits
//
// A list or a map has 16 777 216 entries at most, of a file of 256 MiB; all of them together have 1 GiB (TablesMax). A
// secret has 64 KiB.
package language
