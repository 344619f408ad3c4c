package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// connectionFields are the fields that a filter may name.
var connectionFields = map[string]func(c *Connection) (text string, number float64, isNumber bool){
	"id":       func(c *Connection) (string, float64, bool) { return c.ID, 0, false },
	"listener": func(c *Connection) (string, float64, bool) { return c.Listener, 0, false },
	"client":   func(c *Connection) (string, float64, bool) { return c.Client, 0, false },
	"protocol": func(c *Connection) (string, float64, bool) { return c.Protocol, 0, false },
	"state":    func(c *Connection) (string, float64, bool) { return c.State, 0, false },
	"tls":      func(c *Connection) (string, float64, bool) { return c.TLS, 0, false },
	"host":     func(c *Connection) (string, float64, bool) { return c.Host, 0, false },
	"reactor":  func(c *Connection) (string, float64, bool) { return "", float64(c.Reactor), true },
	"socket":   func(c *Connection) (string, float64, bool) { return c.Socket, 0, false },
	"requests": func(c *Connection) (string, float64, bool) { return "", float64(c.Requests), true },
	"streams":  func(c *Connection) (string, float64, bool) { return "", float64(c.Streams), true },
	"queued":   func(c *Connection) (string, float64, bool) { return "", float64(c.Queued), true },

	"backend":   func(c *Connection) (string, float64, bool) { return c.Backend, 0, false },
	"bytes_in":  func(c *Connection) (string, float64, bool) { return "", float64(c.BytesIn), true },
	"bytes_out": func(c *Connection) (string, float64, bool) { return "", float64(c.BytesOut), true },
	"age":       func(c *Connection) (string, float64, bool) { return "", time.Duration(c.Age).Seconds(), true },
	"idle":      func(c *Connection) (string, float64, bool) { return "", time.Duration(c.Idle).Seconds(), true },
}

// FilterFields are their names, for help and documentation.
const FilterFields = "id, listener, client, protocol, state, tls, host, reactor, requests, streams, queued, " +
	"socket, backend, bytes_in, bytes_out, age and idle in seconds"

// filterMost bounds the text of a filter.
const filterMost = 1024

// condition is one comparison.
// Immutable.
type condition struct {
	field  func(c *Connection) (text string, number float64, isNumber bool)
	op     string
	text   string
	number float64
}

// ParseFilter reads conditions that all have to hold: field, operator, value, with && between two. Operators are ==,
// !=, ~ (the text contains the value) and, for numbers, <, <=, > and >=. A value is a number, a word, or a string in
// quotes. An empty filter holds for all.
func ParseFilter(text string) (keep func(c *Connection) bool, err error) {
	if len(text) > filterMost {
		return nil, fmt.Errorf("%w: a filter has %d bytes at most", ErrInvalid, filterMost)
	}
	var all []condition
	for rest := strings.TrimSpace(text); rest != ""; {
		var one condition
		if one, rest, err = parseCondition(rest); err != nil {
			return nil, fmt.Errorf("%w: filter: %w", ErrInvalid, err)
		}
		all = append(all, one)
		if rest = strings.TrimSpace(rest); rest == "" {
			break
		}
		after, found := strings.CutPrefix(rest, "&&")
		if rest = strings.TrimSpace(after); !found || rest == "" {
			return nil, fmt.Errorf("%w: filter: && and a condition are missing at %s", ErrInvalid, quoteShort(rest))
		}
	}
	return func(c *Connection) bool {
		return !slices.ContainsFunc(all, func(one condition) bool { return !one.holds(c) })
	}, nil
}

// operators, those that begin with others first.
var operators = []string{"==", "!=", "<=", ">=", "<", ">", "~"}

func parseCondition(s string) (c condition, rest string, err error) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' })
	if end < 0 {
		end = len(s)
	}
	name := s[:end]
	if c.field = connectionFields[name]; c.field == nil {
		return c, "", fmt.Errorf("there is no field %s: there are %s", quoteShort(name), FilterFields)
	}
	s = strings.TrimSpace(s[end:])
	for _, op := range operators {
		if strings.HasPrefix(s, op) {
			c.op, s = op, strings.TrimSpace(s[len(op):])
			break
		}
	}
	if c.op == "" {
		return c, "", fmt.Errorf("%s is followed by one of %s", name, strings.Join(operators, " "))
	}
	if c.text, rest, err = parseValue(s); err != nil {
		return c, "", err
	}
	_, _, isNumber := c.field(&Connection{})
	switch {
	case isNumber && c.op == "~":
		return c, "", fmt.Errorf("%s is a number: ~ is for text", name)
	case isNumber:
		if c.number, err = strconv.ParseFloat(c.text, 64); err != nil {
			return c, "", fmt.Errorf("%s is a number, and %s is none", name, quoteShort(c.text))
		}
	case c.op[0] == '<' || c.op[0] == '>':
		return c, "", fmt.Errorf("%s is text: %s is for numbers", name, c.op)
	}
	return c, rest, nil
}

func parseValue(s string) (v, rest string, err error) {
	if s == "" {
		return "", "", fmt.Errorf("a value is missing")
	}
	if quote := s[0]; quote == '"' || quote == '\'' {
		end := strings.IndexByte(s[1:], quote)
		if end < 0 {
			return "", "", fmt.Errorf("the string %s has no end", quoteShort(s))
		}
		return s[1 : 1+end], s[2+end:], nil
	}
	end := strings.IndexAny(s, " &\t")
	if end < 0 {
		end = len(s)
	}
	if end == 0 {
		return "", "", fmt.Errorf("a value is missing before %s", quoteShort(s))
	}
	return s[:end], s[end:], nil
}

func (c *condition) holds(of *Connection) bool {
	text, number, isNumber := c.field(of)
	if !isNumber {
		switch c.op {
		case "==":
			return text == c.text
		case "!=":
			return text != c.text
		}
		return strings.Contains(text, c.text)
	}
	switch c.op {
	case "==":
		return number == c.number
	case "!=":
		return number != c.number
	case "<":
		return number < c.number
	case "<=":
		return number <= c.number
	case ">":
		return number > c.number
	}
	return number >= c.number
}
