package lint

import (
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// vague words say nothing about what a thing is.
var vague = map[string]bool{
	"util": true, "utils": true, "utility": true, "helper": true, "helpers": true, "manager": true,
	"common": true, "misc": true, "stuff": true,
}

// vagueAlone are good words inside a name but say nothing as the name of a package or a file.
var vagueAlone = map[string]bool{"data": true, "info": true}

// checkWord: names are the field's nouns. Only what is declared here counts, not what is used.
func checkWord(s *source, report report) {
	const says = "%q in the name %s says nothing"
	file := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")
	for _, name := range []string{file, s.ast.Name.Name, path.Base(s.dir)} {
		if word := vagueIn(name); word != "" {
			report(1, name, says, word, name)
		} else if vagueAlone[name] {
			report(1, name, says, name, name)
		}
	}
	for _, id := range declared(s.ast) {
		// Helper is a method of testing.TB: a type that stands in for one must have it.
		if word := vagueIn(id.Name); word != "" && id.Name != "Helper" {
			report(s.line(id.Pos()), id.Name, says, word, id.Name)
		}
	}
}

// vagueIn returns the vague word in a name that is cut at case changes, dashes and underscores.
func vagueIn(name string) string {
	for _, word := range splitName(name) {
		if vague[word] {
			return word
		}
	}
	return ""
}

// splitName cuts connPool, HTTPServer and raw_linux into lower-case words.
func splitName(name string) []string {
	var words []string
	runes, start := []rune(name), 0
	for i := range runes {
		cut := i > start && unicode.IsUpper(runes[i]) &&
			(unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if cut || runes[i] == '_' || runes[i] == '-' || runes[i] == '.' {
			words = append(words, strings.ToLower(strings.Trim(string(runes[start:i]), "_-.")))
			start = i
		}
	}
	return append(words, strings.ToLower(strings.Trim(string(runes[start:]), "_-.")))
}

func declared(file *ast.File) []*ast.Ident {
	var ids []*ast.Ident
	exprs := func(list ...ast.Expr) {
		for _, e := range list {
			if id, ok := e.(*ast.Ident); ok {
				ids = append(ids, id)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			ids = append(ids, n.Name)
		case *ast.TypeSpec:
			ids = append(ids, n.Name)
		case *ast.ValueSpec:
			ids = append(ids, n.Names...)
		case *ast.Field:
			ids = append(ids, n.Names...)
		case *ast.LabeledStmt:
			ids = append(ids, n.Label)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				exprs(n.Lhs...)
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				exprs(n.Key, n.Value)
			}
		}
		return true
	})
	return ids
}

// note matches the marks of work left undone.
var note = regexp.MustCompile(`\b(` + "TO" + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)

// checkNote: what is left to do stands in the tracker, not in a comment. Prose is not searched.
func checkNote(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		for _, group := range s.ast.Comments {
			for _, c := range group.List {
				if word := note.FindString(c.Text); word != "" {
					found = append(found, noteFinding(s.path, s.line(c.Pos()), word))
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.texts)) {
		if path.Ext(name) == ".md" {
			continue
		}
		eachLine(t.texts[name], func(n int, line string) {
			if word := note.FindString(line); word != "" {
				found = append(found, noteFinding(name, n, word))
			}
		})
	}
	return found
}

func noteFinding(name string, line int, word string) finding {
	return finding{path: name, line: line, symbol: word, says: word + " in a comment"}
}

// phrases are words that make a sentence hard to read. Plain English has another way to say each of them.
var phrases = []struct {
	match, allowed *regexp.Regexp
	says           string
}{
	{
		match: regexp.MustCompile(`(?i)\bbehind\b`),
		allowed: regexp.MustCompile(`(?i)\bbehind (the|a|an|another|every)\s+(proxy|load\s+balancer)|` +
			`\bbehind (a\s+seam|the\s+same\s+interface)|\b(is|falls|left|leaves?(\s+nothing)?)\s+behind\b`),
		says: `"behind" is a place, for time and order it is "after"`,
	},
	{
		match: regexp.MustCompile(`(?i)\bwhoever\b|(\A|\n\s*\n|[.,:;(])\s*\bwhom?\b|\b(for|from|of|by|than)\s+who\b`),
		says:  "a clause that begins with who: name the actor",
	},
	{
		match: regexp.MustCompile(`(?i)\bit is said\b|\bwhat\b(\n?[^.,:;\n]){1,60}\bis what\b`),
		says:  "a riddle: say what it is",
	},
}

// nameless matches a word that stands for a noun which the reader has to find: "the address of the backend" is clear,
// "that of the backend" is not.
var nameless = regexp.MustCompile(`(?i)\b(what|that|those)\s+of\b|\bone\s+that\b|` +
	`\bwhat\s+is\b(\n?[^.,:;\n]){1,60}\bis\b`)

// checkNameless reads comments, tests aside.
func checkNameless(s *source, report report) {
	for _, group := range s.ast.Comments {
		for _, found := range nameless.FindAllString(group.Text(), -1) {
			if !s.test {
				report(s.line(group.Pos()), "", "%q leaves out a noun: name the thing", found)
			}
		}
	}
}

// checkPhrase reads comments, and the prose of Markdown files outside of code.
func checkPhrase(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		for _, group := range s.ast.Comments {
			var text strings.Builder
			for _, c := range group.List {
				text.WriteString(inlineCode.ReplaceAllString(strings.Trim(c.Text, "/* \t"), "") + "\n")
			}
			found = append(found, phrasesIn(s.path, s.line(group.Pos()), text.String())...)
		}
	}
	for _, name := range t.names(".md") {
		var text strings.Builder
		fenced := false
		eachLine(t.texts[name], func(_ int, line string) {
			if fence := strings.HasPrefix(strings.TrimSpace(line), "```"); fence || fenced {
				fenced, line = fenced != fence, ""
			}
			text.WriteString(inlineCode.ReplaceAllString(line, "") + "\n")
		})
		found = append(found, phrasesIn(name, 1, text.String())...)
	}
	return found
}

// inlineCode matches code and the targets of links within a line of Markdown.
var inlineCode = regexp.MustCompile("`[^`]*`|\\]\\([^)]*\\)")

// phrasesIn returns what phrases match in a text that begins at the line first.
func phrasesIn(name string, first int, text string) []finding {
	var found []finding
	for _, p := range phrases {
		searched := text
		if p.allowed != nil {
			searched = p.allowed.ReplaceAllStringFunc(text, func(s string) string {
				return strings.Repeat("\n", strings.Count(s, "\n")) // the numbers of lines stay true
			})
		}
		for _, at := range p.match.FindAllStringIndex(searched, -1) {
			word := strings.ToLower(strings.TrimLeft(searched[at[0]:at[1]], ".,:;( \t\n"))
			line := first + strings.Count(searched[:at[1]], "\n")
			found = append(found, finding{path: name, line: line, symbol: word, says: p.says})
		}
	}
	return found
}
