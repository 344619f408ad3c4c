// Package lang is a small language about HTTP requests: conditions of rules, and templates, texts with values in them.
//
//	path starts_with "/api/" and client.ip not in {10.0.0.0/8}
//	https://{host}{target}
//
// It is not a programming language: there are no loops, no variables to set, no functions to write, and no errors when
// a text is evaluated. Every function is total. A missing value is an empty text; a comparison with a missing number is
// false. docs/DSL.md has the grammar, and every variable and function with an example.
//
// # Life of a text
//
// NewScope says what texts may name: the language's own variables and functions, and those that the program adds.
// Scope.Condition and Scope.Template parse a text, check its kinds and the phase in which it is evaluated, and compile
// it to functions that call each other. A mistake is an *Error with the place, and what was probably meant. Holds and
// Append evaluate it for an X: a request, its answer, and whatever the program's own variables look at.
//
//	text ─► lexer ─► parser ─► tree ─► checker ─► compiler ─► functions
//	                                                     └► model (Explain)
//
// # Ownership
//
// A Scope, a Condition and a Template are immutable and safe for any goroutine. An X and its State are owned by one
// reactor: the state holds the bytes of computed texts, which are borrowed until the next evaluation with it.
// Evaluation allocates nothing once the state's buffers have grown, but for re_replace.
//
// # Limits
//
// SourceMax, NodesMax, DepthMax and InstructionsMax bound a text when it is compiled, ComputedMax what one evaluation
// computes. No text can loop, and patterns take time in proportion to what they are matched with.
package lang
