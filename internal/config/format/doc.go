// Package format writes the text of a TOML file as edge fmt does: one form for what may be written in several.
//
// It is not a parser of values, and knows no section: package syntax is asked before and after. A text that it refuses
// is not formatted, and a result whose tree is not the tree of the text is not returned: what a file means never
// changes.
//
//	text -- scan.go, --> statements -- layout.go, --> lines -- write.go, --> text
//	        checked by   in the order   spaces,                aligned
//	        syntax       of the file    brackets, quotes
//
// What stays: the order, comments, single blank lines, the line breaks inside lists and inline tables, strings with
// escapes, and the form of numbers. What changes:
//
//   - keys and headers begin at the left edge, with one blank line before a header and none after it;
//   - "=" is aligned in a block of keys with neither a blank line nor a comment between them. So are comments after
//     values, where each of them takes one line;
//   - a list or inline table on one line is [1, 2] or { a = 1 }; on several it has brackets on lines of their own, two
//     blanks of indentation, and a comma after each element;
//   - 'text' is "text" where neither a quotation mark nor a backslash is in it, and "key" is key where it may be bare;
//   - lines end in "\n" without blanks before it, the last one too; inside strings of several lines nothing changes.
//
// Formatting a result again changes nothing.
package format
