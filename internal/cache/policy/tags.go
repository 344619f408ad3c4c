package policy

import (
	"bytes"
	"iter"

	"github.com/edge-proxy/edge/message"
)

// Tags goes over the tags in a value of a field such as Cache-Tag or Surrogate-Key: there are blanks or commas between
// them.
func Tags(value []byte) iter.Seq[[]byte] {
	return bytes.FieldsFuncSeq(value, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
}

// Groups returns the members of all lines of a field that is a List of Strings (RFC 9651 §3.1), as Cache-Groups is: RFC
// 9875. The members are as they came, between their quotation marks: no two of these texts mean the same String. There
// are none where a line is no such list.
func Groups(h *message.Head, field string) (all [][]byte) {
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID != message.Other || f.Dropped() || !message.EqualFold(h.Name(i), field) {
			continue
		}
		s := scanner{rest: h.Value(i)}
		for more := len(s.rest) > 0; more; {
			var m member
			text := s.rest
			s.item(&m)
			text = text[:len(text)-len(s.rest)]
			s.parameters()
			s.run(blanks)
			more = s.take(',')
			s.run(blanks)
			if s.expect(m.text && more == (len(s.rest) > 0)); s.bad {
				return nil
			}
			all = append(all, text[1:len(text)-1])
		}
	}
	return all
}
