package traefik

import (
	"regexp/syntax"
	"strings"
)

// Limits of expressions that are a few texts.
const (
	literalsMax = 64
	literalMax  = 512
	exprMax     = 1024
)

// literals returns the texts that an expression stands for, where it begins with ^ and is one of a few texts, up to $
// (whole) or with anything after them.
func literals(text string) (texts []string, whole, ok bool) {
	if len(text) > exprMax {
		return nil, false, false
	}
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, false, false
	}
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	if len(parts) == 0 || parts[0].Op != syntax.OpBeginText {
		return nil, false, false
	}
	parts = parts[1:]
	if n := len(parts); n > 0 && parts[n-1].Op == syntax.OpEndText {
		parts, whole = parts[:n-1], true
	}
	if n := len(parts); n > 0 && anything(parts[n-1]) {
		parts, whole = parts[:n-1], false
	}
	texts = []string{""}
	for _, p := range parts {
		more, ok := spellings(p)
		if !ok || len(texts)*len(more) > literalsMax {
			return nil, false, false
		}
		var all []string
		for _, a := range texts {
			for _, b := range more {
				if len(a)+len(b) > literalMax {
					return nil, false, false
				}
				all = append(all, a+b)
			}
		}
		texts = all
	}
	return texts, whole, true
}

// anything reports whether an expression is .* alone.
func anything(re *syntax.Regexp) bool {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	return re.Op == syntax.OpStar && (re.Sub[0].Op == syntax.OpAnyCharNotNL || re.Sub[0].Op == syntax.OpAnyChar)
}

// spellings returns the texts that a part of an expression stands for.
func spellings(re *syntax.Regexp) (texts []string, ok bool) {
	if re.Flags&syntax.FoldCase != 0 && strings.ToLower(re.String()) != strings.ToUpper(re.String()) {
		return nil, false
	}
	switch re.Op {
	case syntax.OpLiteral:
		return []string{string(re.Rune)}, true
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpCapture:
		return spellings(re.Sub[0])
	case syntax.OpQuest:
		texts, ok = spellings(re.Sub[0])
		return append(texts, ""), ok
	case syntax.OpAlternate:
		for _, s := range re.Sub {
			more, ok := spellings(s)
			if texts = append(texts, more...); !ok || len(texts) > literalsMax {
				return nil, false
			}
		}
		return texts, true
	case syntax.OpConcat:
		texts = []string{""}
		for _, s := range re.Sub {
			more, ok := spellings(s)
			if !ok || len(texts)*len(more) > literalsMax {
				return nil, false
			}
			var all []string
			for _, a := range texts {
				for _, b := range more {
					all = append(all, a+b)
				}
			}
			texts = all
		}
		return texts, true
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if texts = append(texts, string(r)); len(texts) > literalsMax {
					return nil, false
				}
			}
		}
		return texts, true
	}
	return nil, false
}
