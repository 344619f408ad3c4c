package lang

import (
	"net/netip"
	"strings"
	"testing"
)

// What a program adds wrongly is told when the scope is made.
func TestNewScope_wrong(t *testing.T) {
	text := func(*X) []byte { return nil }
	for says, names := range map[string]Names{
		"is a number, not a text":    {Variables: []Variable{{Name: "status", Kind: Text, Phases: Log, Text: text}}},
		"its function gives a text":  {Variables: []Variable{{Name: "a", Kind: Int, Phases: Log, Text: text}}},
		"one function is set":        {Variables: []Variable{{Name: "a", Kind: Text, Phases: Log}}},
		"known in no phase":          {Variables: []Variable{{Name: "a", Kind: Text, Text: text}}},
		"letters, digits and dots":   {Variables: []Variable{{Name: "a-b", Kind: Text, Phases: Log, Text: text}}},
		"needs a name of its own":    {Functions: []Function{{Name: "lower"}}},
		"a text and at most two":     {Functions: []Function{{Name: "a", Args: 3}}},
		"list a: it holds texts":     {Lists: map[string]List{"a": {Kind: IP}}},
		"secret a: it is empty":      {Secrets: map[string][]byte{"a": nil}},
		"map a: its keys are texts":  {Maps: map[string]Map{"a": {Key: Int}}},
		"its function gives a numbe": {Variables: []Variable{{Name: "a", Kind: Bool, Phases: Log, Int: length}}},
	} {
		if _, err := NewScope(names); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q in it", err, says)
		}
	}
}

// A program replaces a variable of the language: it may know more than the head does.
// All texts of a scope share a bound, which those that are refused and explanations do not count towards.
func TestScope_instructionsOfAll(t *testing.T) {
	s := scope(t)
	text := strings.Repeat(`path ~ "\d{990}x" or `, 16) + "true"
	n := 0
	for ; n < 100; n++ {
		c, err := s.Condition(text, Request)
		if err != nil {
			if !strings.Contains(err.Error(), "of all texts") {
				t.Fatal(err)
			}
			break
		}
		if n > 0 {
			continue
		}
		if _, err := c.Capturing(); err != nil {
			t.Fatal(err)
		}
		c.Explain(&X{})
	}
	if n != ScopeInstructionsMax/(16*993) {
		t.Errorf("%d texts are taken", n)
	}
	if _, err := s.Template(`{path.re_replace("\d{200}x", "")}`, Request); err != nil {
		t.Error(err)
	}
}

func TestNewScope_replaces(t *testing.T) {
	s, err := NewScope(Names{Variables: []Variable{{Name: "scheme", Kind: Text, Phases: Request, Doc: "It.",
		Text: func(*X) []byte { return []byte("https") }}}})
	if err != nil {
		t.Fatal(err)
	}
	condition, err := s.Condition(`scheme == "https"`, Request)
	if err != nil {
		t.Fatal(err)
	}
	if !condition.Holds(browser()) {
		t.Error("the scheme is that of the head")
	}
}

// Nothing is there on a connection before a request, and nothing panics.
func TestCondition_withoutHeads(t *testing.T) {
	names := scope(t)
	for _, c := range holding {
		condition := condition(t, names, c.text, Log)
		x := &X{}
		condition.Holds(x)
		condition.Explain(x)
		checkModel(t, names, &X{State: NewState()}, c.text)
	}
}

// An address is IPv4 where it is written as IPv6, and has no zone: otherwise prefixes would not hold it.
func TestCondition_addressForms(t *testing.T) {
	condition := condition(t, scope(t), `client.ip in {10.0.0.0/8 fe80::/10}`, Request)
	for text, want := range map[string]bool{
		"::ffff:10.1.1.1": true, "fe80::1%eth0": true, "10.0.0.1": true, "::1": false,
	} {
		if x := (&X{Subject: &subject{client: netip.MustParseAddr(text)}}); condition.Holds(x) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

// The groups of the last match that held are those of the rule; without one they are those of the route.
func TestState_SetMatch(t *testing.T) {
	names := scope(t)
	template, err := names.Template("{match.1}|{match.2}", Request)
	if err != nil || !template.NamesMatch() {
		t.Fatal(err)
	}
	x := browser()
	x.State.SetMatch([]byte("/users/7"), [][2]int32{{0, 8}, {7, 8}, {-1, -1}})
	for _, c := range []struct{ text, want string }{
		{`path ~ "^/nothing/(.*)"`, "7|"},
		{`path ~ "^/(api)/(v2)" or path ~ "(items)"`, "api|v2"},
		{`path ~ "^/(api)/(v2)" and path ~ "(items)"`, "items|"},
		{`method == "GET"`, "7|"},
	} {
		plain := condition(t, names, c.text, Request)
		condition, err := plain.Capturing()
		if err != nil {
			t.Fatal(err)
		}
		condition.Holds(x)
		if got := string(template.Append(nil, x)); got != c.want {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}
