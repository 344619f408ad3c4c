package lang

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/message"
)

// scalar compiles n, whose kind is Text, to one text: several values are joined by ", ".
func (c *compiler) scalar(n *node) TextFunc {
	if n.many {
		list := c.texts(n)
		return func(x *X) []byte {
			s := x.State
			mark := len(s.list)
			s.list = list(x, s.list)
			text := s.join(s.list[mark:], comma)
			s.list = s.list[:mark]
			return text
		}
	}
	switch n.op {
	case opText:
		text := []byte(n.text)
		return func(*X) []byte { return text }
	case opName:
		return c.named(n)
	case opIndex:
		return c.element(n)
	case opCall:
		return c.textCall(n)
	case opAdd:
		return c.concatenation(n)
	case opCond:
		cond, yes, no := c.boolean(n.args[0]), c.scalar(n.args[1]), c.scalar(n.args[2])
		return chosen(cond, yes, no)
	}
	list := listOf(n.args, c.scalar)
	return func(x *X) (text []byte) {
		for _, f := range list {
			if text = f(x); text != nil {
				break
			}
		}
		return text
	}
}

var comma = []byte(", ")

// named compiles a name that has one text.
func (c *compiler) named(n *node) TextFunc {
	switch {
	case n.value != nil:
		return n.value
	case n.variable != nil:
		return n.variable.Text
	case n.secret:
		secret := c.scope.secrets[n.key]
		return func(*X) []byte { return present(secret) }
	}
	value := []byte(n.key) // of the environment
	return func(*X) []byte { return value }
}

func (c *compiler) element(n *node) TextFunc {
	of, by := n.args[0], n.args[1]
	switch {
	case n.variable != nil || of.op == opName && of.kind == Invalid && n.table == nil:
		return c.named(n) // header["x"], env["x"]
	case n.table != nil:
		return c.lookup(n)
	case of.op == opCall && of.text == "split" && by.op == opNumber && of.args[0].kind == Text && !of.args[0].many &&
		of.args[1].op == opText && of.args[1].text != "" && by.number >= 0:
		text, separator, index := c.scalar(of.args[0]), []byte(of.args[1].text), by.number
		if len(separator) == 1 {
			return func(x *X) []byte { return pieceOfByte(text(x), separator[0], index) }
		}
		return func(x *X) []byte { return piece(text(x), separator, index) }
	}
	list, index := c.texts(of), c.number(by)
	return func(x *X) []byte {
		i, ok := index(x)
		s := x.State
		all := list(x, s.list)
		mark := len(s.list)
		s.list, all = all[:mark], all[mark:]
		if i < 0 {
			i += int64(len(all))
		}
		if !ok || i < 0 || i >= int64(len(all)) {
			return nil
		}
		return all[i]
	}
}

// piece returns what stands between separator index and the next one.
func piece(text, separator []byte, index int64) []byte {
	for ; index > 0; index-- {
		i := bytes.Index(text, separator)
		if i < 0 {
			return nil
		}
		text = text[i+len(separator):]
	}
	if text == nil {
		return nil
	}
	if i := bytes.Index(text, separator); i >= 0 {
		text = text[:i]
	}
	return text
}

// pieceOfByte is piece for a separator of one byte, as most are.
func pieceOfByte(text []byte, separator byte, index int64) []byte {
	for ; index > 0; index-- {
		i := bytes.IndexByte(text, separator)
		if i < 0 {
			return nil
		}
		text = text[i+1:]
	}
	if i := bytes.IndexByte(text, separator); i >= 0 {
		text = text[:i]
	}
	return text
}

// lookup compiles map.NAME[key] with one key.
func (c *compiler) lookup(n *node) TextFunc {
	table, key := n.table, n.args[1]
	if table.Key == IP {
		of, get := c.addr(key), table.Addr
		return func(x *X) []byte {
			if a := of(x); a.IsValid() {
				if text, ok := get(a); ok {
					return present(text)
				}
			}
			return nil
		}
	}
	of, get := c.scalar(key), table.Text
	return func(x *X) []byte { return got(get(of(x))) }
}

func got(text []byte, ok bool) []byte {
	if !ok {
		return nil
	}
	return present(text)
}

// concatenation compiles a + b. A missing value is an empty text.
func (c *compiler) concatenation(n *node) TextFunc {
	parts := listOf(n.args, c.scalar)
	return func(x *X) []byte {
		s := x.State
		mark := len(s.list)
		for _, f := range parts {
			text := f(x)
			s.list = append(s.list, text)
		}
		text := s.join(s.list[mark:], nil)
		s.list = s.list[:mark]
		return present(text)
	}
}

// join returns texts with a separator between them; nil where there is none.
func (s *State) join(list [][]byte, separator []byte) []byte {
	if len(list) < 2 {
		if len(list) == 0 {
			return nil
		}
		return list[0]
	}
	dst, left := append(s.Room(), list[0]...), s.left()
	for _, text := range list[1:] {
		if len(dst) > left {
			break
		}
		dst = append(append(dst, separator...), text...)
	}
	return s.Keep(dst)
}

// textCall compiles a function whose result is one text.
func (c *compiler) textCall(n *node) TextFunc {
	of := n.args[0]
	switch {
	case n.function.text != nil || n.text == "re_replace":
		text, f, rest := c.scalar(of), mapped(n), c.rest(n)
		return func(x *X) []byte {
			if b := text(x); b != nil {
				second, third := rest(x)
				return f(x, b, second, third)
			}
			return nil
		}
	case n.text == "join":
		list, separator := c.texts(of), c.scalar(n.args[1])
		return func(x *X) []byte {
			by := separator(x)
			s := x.State
			mark := len(s.list)
			s.list = list(x, s.list)
			text := s.join(s.list[mark:], by)
			s.list = s.list[:mark]
			return text
		}
	case n.text == "hmac":
		key, text := newSealer(c.scope.secrets[of.key]), c.scalar(n.args[1])
		return func(x *X) []byte { return key.seal(x.State, text(x)) }
	case n.text == "default":
		text, otherwise := c.scalar(of), c.scalar(n.args[1])
		return func(x *X) []byte {
			if b := text(x); len(b) > 0 {
				return b
			}
			return otherwise(x)
		}
	case n.text == "ms":
		took := c.number(of)
		return func(x *X) []byte {
			n, ok := took(x)
			if !ok {
				return nil
			}
			return x.State.Keep(appendMicros(x.State.Room(), n, 1e3))
		}
	case n.text == "date":
		seconds, form := c.number(of), ""
		if len(n.args) > 1 {
			form = n.args[1].text
		}
		return func(x *X) []byte {
			at, ok := seconds(x)
			if !ok || at < 0 || at > lastSecond {
				return nil
			}
			return x.State.Keep(appendDate(x.State.Room(), at, form))
		}
	case of.kind == Text: // text
		return c.scalar(of)
	}
	f := c.appender(of)
	return func(x *X) []byte {
		if text := f(x, x.State.Room()); len(text) > 0 {
			return x.State.Keep(text)
		}
		return nil
	}
}

func mapped(n *node) func(x *X, text, a, b []byte) []byte {
	if n.text == "re_replace" {
		p, with := n.pattern, n.with
		return func(x *X, text, _, _ []byte) []byte { return p.replaceAll(x.State, text, with) }
	}
	return n.function.text
}

// rest compiles the arguments of a function after the first one. They are evaluated once, however many values that
// has: one client sends all of them.
func (c *compiler) rest(n *node) func(x *X) (a, b []byte) {
	if len(n.args) == 1 || n.text == "re_replace" {
		return func(*X) (a, b []byte) { return nil, nil }
	}
	second := c.scalar(n.args[1])
	if len(n.args) == 2 {
		return func(x *X) (a, b []byte) { return present(second(x)), nil }
	}
	third := c.scalar(n.args[2])
	return func(x *X) (a, b []byte) {
		a = present(second(x))
		return a, present(third(x))
	}
}

// texts compiles n, a text of several values or a list, to a list without what is missing.
//
// A function that makes a list appends to what it is given, and gives nothing else to do to the state's list while its
// own is unfinished: the two are the same memory.
func (c *compiler) texts(n *node) TextsFunc {
	if !n.many && n.kind == Text {
		text := c.scalar(n)
		return func(x *X, dst [][]byte) [][]byte {
			if b := text(x); b != nil {
				dst = append(dst, b)
			}
			return dst
		}
	}
	switch n.op {
	case opCond:
		cond, yes, no := c.boolean(n.args[0]), c.texts(n.args[1]), c.texts(n.args[2])
		return func(x *X, dst [][]byte) [][]byte {
			if cond(x) {
				return yes(x, dst)
			}
			return no(x, dst)
		}
	case opElse:
		list := listOf(n.args, c.texts)
		return func(x *X, dst [][]byte) [][]byte {
			for _, f := range list {
				if all := f(x, dst); len(all) > len(dst) {
					return all
				}
			}
			return dst
		}
	case opCall:
		return c.textsCall(n)
	case opIndex:
		if n.table != nil {
			return c.lookups(n)
		}
	}
	if n.values != nil {
		return n.values
	}
	return n.variable.Texts
}

// textsCall compiles a function of each of several texts.
func (c *compiler) textsCall(n *node) TextsFunc {
	if n.text == "text" {
		return c.texts(n.args[0])
	}
	if n.text == "default" {
		list, otherwise := c.texts(n.args[0]), c.texts(n.args[1])
		return func(x *X, dst [][]byte) [][]byte {
			all := list(x, dst)
			for _, text := range all[len(dst):] {
				if len(text) > 0 {
					return all
				}
			}
			return otherwise(x, dst)
		}
	}
	if n.text == "split" {
		return c.split(n)
	}
	list, f, rest := c.texts(n.args[0]), mapped(n), c.rest(n)
	return func(x *X, dst [][]byte) [][]byte {
		s := x.State
		mark := len(s.list)
		s.list = list(x, dst) // what follows may have lists of its own
		a, b := rest(x)
		kept := mark
		for i := mark; i < len(s.list); i++ {
			if text := f(x, s.list[i], a, b); text != nil {
				s.list[kept] = text
				kept++
			}
		}
		all := s.list[:kept]
		s.list = s.list[:mark]
		return all
	}
}

// split compiles the list of what stands between separators.
func (c *compiler) split(n *node) TextsFunc {
	list, by := c.texts(n.args[0]), c.scalar(n.args[1])
	return func(x *X, dst [][]byte) [][]byte {
		separator := by(x)
		mark := len(dst)
		all := list(x, dst)
		end := len(all)
		for i := mark; i < end; i++ {
			text := all[i]
			for len(separator) > 0 {
				at := bytes.Index(text, separator)
				if at < 0 {
					break
				}
				all = append(all, text[:at])
				text = text[at+len(separator):]
			}
			all = append(all, text)
		}
		return append(all[:mark], all[end:]...)
	}
}

// lookups compiles map.NAME[key] with a key of several values.
func (c *compiler) lookups(n *node) TextsFunc {
	list, get := c.texts(n.args[1]), n.table.Text
	return func(x *X, dst [][]byte) [][]byte {
		all := list(x, dst)
		kept := len(dst)
		for _, key := range all[kept:] {
			if text := got(get(key)); text != nil {
				all[kept] = text
				kept++
			}
		}
		return all[:kept]
	}
}

// How values that are no texts stand in templates, and in text(x).

func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return dst
	}
	return a.AppendTo(dst)
}

func appendPrefix(dst []byte, p netip.Prefix) []byte {
	if !p.IsValid() {
		return dst
	}
	return p.AppendTo(dst)
}

// appendNumber appends a duration in seconds with six decimals, and any other number in digits.
func appendNumber(dst []byte, kind Kind, f numberFunc, x *X) []byte {
	n, ok := f(x)
	switch {
	case !ok:
		return dst
	case kind != Duration:
		return strconv.AppendInt(dst, n, 10)
	}
	return appendMicros(dst, n, 1e6)
}

// appendMicros appends a duration of n nanoseconds, to the microsecond, as a decimal number in a unit of so many
// microseconds, a power of ten.
func appendMicros(dst []byte, n, unit int64) []byte {
	micros := n / 1000
	if micros < 0 {
		dst, micros = append(dst, '-'), -micros
	}
	dst = append(strconv.AppendInt(dst, micros/unit, 10), '.')
	for unit /= 10; unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+micros/unit%10))
	}
	return dst
}

func appendBool(dst []byte, b bool) []byte { return strconv.AppendBool(dst, b) }

// lastSecond is the end of the year 9999.
const lastSecond = 253402300799

// appendDate appends a time as fields of HTTP have it, or in a form.
func appendDate(dst []byte, seconds int64, form string) []byte {
	at := time.Unix(seconds, 0).UTC()
	if form == "" {
		return at.AppendFormat(dst, message.DateLayout)
	}
	for i := 0; i < len(form); i++ {
		if form[i] == '%' {
			if i++; form[i] != '%' {
				dst = at.AppendFormat(dst, dateParts[form[i]])
				continue
			}
		}
		dst = append(dst, form[i])
	}
	return dst
}

// appender compiles a value that is no text to what appends it.
func (c *compiler) appender(n *node) func(x *X, dst []byte) []byte {
	switch n.kind {
	case Bool:
		f := c.boolean(n)
		return func(x *X, dst []byte) []byte { return appendBool(dst, f(x)) }
	case IP:
		f := c.addr(n)
		return func(x *X, dst []byte) []byte { return appendAddr(dst, f(x)) }
	case Prefix:
		f := c.prefix(n)
		return func(x *X, dst []byte) []byte { return appendPrefix(dst, f(x)) }
	}
	f, kind := c.number(n), n.kind
	return func(x *X, dst []byte) []byte { return appendNumber(dst, kind, f, x) }
}
