package traefik

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a rule.
const (
	ruleDepthMax = 64
	ruleCallsMax = 512
)

// expr is a rule: a call of a matcher, or others that are combined.
type expr struct {
	op   byte // '&', '|', '!', or 0 for a call
	kids []*expr
	name string // of a call: "Host"
	args []string
}

// ruleText reads the text of a rule. Owned by one goroutine.
type ruleText struct {
	text  string
	at    int
	depth int
	calls int
}

// parseRule reads a rule such as Host(`a.test`) && !PathPrefix(`/api`).
func parseRule(text string) (*expr, error) {
	r := &ruleText{text: text}
	e, err := r.either()
	if err != nil {
		return nil, err
	}
	if r.blank(); r.at < len(r.text) {
		return nil, r.wrong()
	}
	return e, nil
}

func (r *ruleText) wrong() error {
	if r.at >= len(r.text) {
		return errors.New("the rule ends too early")
	}
	rest := r.text[r.at:]
	return fmt.Errorf("the rule is wrong at %q", rest[:min(len(rest), 20)])
}

func (r *ruleText) blank() {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.at++
	}
}

// next reports whether the text goes on with a mark, and passes over it.
func (r *ruleText) next(mark string) bool {
	r.blank()
	if !strings.HasPrefix(r.text[r.at:], mark) {
		return false
	}
	r.at += len(mark)
	return true
}

func (r *ruleText) either() (*expr, error) { return r.chain("||", '|', r.both) }

func (r *ruleText) both() (*expr, error) { return r.chain("&&", '&', r.one) }

// chain reads parts with a mark between them.
func (r *ruleText) chain(mark string, op byte, part func() (*expr, error)) (*expr, error) {
	first, err := part()
	if err != nil {
		return nil, err
	}
	all := &expr{op: op, kids: []*expr{first}}
	for r.next(mark) {
		more, err := part()
		if err != nil {
			return nil, err
		}
		all.kids = append(all.kids, more)
	}
	if len(all.kids) == 1 {
		return first, nil
	}
	return all, nil
}

// one reads what stands between marks: !x, (x) or Name(`a`, `b`).
func (r *ruleText) one() (*expr, error) {
	if r.depth++; r.depth > ruleDepthMax {
		return nil, errors.New("the rule is nested too deeply")
	}
	defer func() { r.depth-- }()
	if r.next("!") {
		e, err := r.one()
		return &expr{op: '!', kids: []*expr{e}}, err
	}
	if r.next("(") {
		e, err := r.either()
		if err == nil && !r.next(")") {
			err = r.wrong()
		}
		return e, err
	}
	from := r.at
	for r.at < len(r.text) && (r.text[r.at]|0x20 >= 'a' && r.text[r.at]|0x20 <= 'z') {
		r.at++
	}
	e := &expr{name: r.text[from:r.at]}
	if r.calls++; e.name == "" || r.calls > ruleCallsMax || !r.next("(") {
		return nil, r.wrong()
	}
	for !r.next(")") {
		if len(e.args) > 0 && !r.next(",") {
			return nil, r.wrong()
		}
		text, err := r.quoted()
		if err != nil {
			return nil, err
		}
		e.args = append(e.args, text)
	}
	return e, nil
}

// quoted reads `text`, "text" or 'text'.
func (r *ruleText) quoted() (string, error) {
	for _, mark := range []string{"`", `"`, "'"} {
		if !r.next(mark) {
			continue
		}
		var b strings.Builder
		for r.at < len(r.text) {
			switch c := r.text[r.at]; {
			case c == mark[0]:
				r.at++
				return b.String(), nil
			case c == '\\' && mark != "`" && r.at+1 < len(r.text):
				r.at++
			}
			b.WriteByte(r.text[r.at])
			r.at++
		}
	}
	return "", r.wrong()
}
