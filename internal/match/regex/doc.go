// Package regex matches the regular expressions of rules against bytes, at a cost that is known beforehand.
//
// It understands the syntax and has the meaning of package regexp: Match says what regexp.Regexp.Match says, of any
// bytes, valid UTF-8 or not. It is for many short texts that are asked about many patterns, such as the fields of
// requests. It finds no place of a match except by Submatches, and replaces nothing.
//
// A pattern is matched by the first rung of a ladder that can do it:
//
//	Literal  it means that a text is, begins with, ends with or contains one of 16 words at most, in
//	         the case given or in any: bytes are compared
//	Word     each match contains one of 16 words at most: a text without them is refused by looking for
//	         the words, any other goes to the next rung
//	DFA      one look into a table for each byte. The table is built from what texts need, never whole
//	NFA      some words of bits moved for each byte, for a text that needs more states than the limits allow
//
// # The automaton
//
// A state is a set of instructions of the program that regexp/syntax makes, what stood before them if an assertion
// such as \b waits for the next rune, and the bytes of a rune that has not ended. So a table of bytes decodes UTF-8 as
// package utf8 does, with an invalid byte as one U+FFFD, and knows ^, $, \b and (?m). Bytes that no instruction and no
// assertion tells apart are one class, which keeps rows short:
//
//	table   unknown | dead | matched | state | state | …      one row each
//	row     class 0 | class 1 | … | end of the text           offset of the next row, 2 bytes each
//
// # Ownership
//
// A Pattern is immutable after Compile and safe for any goroutine. A Cache has the states of all patterns for one event
// loop and is owned by one goroutine. It finds the states of a pattern by the number that the pattern has in the
// process; the states of a pattern that was collected are given up. A Budget is safe for any goroutine.
//
// # Limits
//
// A pattern has at most 16 KiB of text, 100 times \p, and 1000 instructions with its repetitions written out; this is
// checked before they are. A table has at most 256 states. A full one is begun anew; a table that is full four times
// without having been worth it rests for 1024 texts, which the NFA matches. For one text at most 65536 instructions are
// visited to build states, and for many texts one for each of their bytes beyond a million; then the NFA takes over.
// All tables that share a Budget have at most its bytes. Match allocates only to build states.
//
// The NFA looks at 512 words at most for each byte, mostly at 10 to 30: a text of 64 KiB is done in 1 ms, and in some
// 20 ms for the worst pattern. A pattern that would need more is refused. The groups of a match are not looked for
// where instructions times places are more than 16 million or more than 4 million are tried.
package regex
