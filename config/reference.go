package config

import (
	_ "embed"
	"io"
)

// referenceIntro is what the page says before it comes to the keys.
//
//go:embed reference.md
var referenceIntro string

// Reference writes the reference page of all keys in Markdown.
func Reference(w io.Writer) error { return edge().Reference(w, referenceIntro) }
