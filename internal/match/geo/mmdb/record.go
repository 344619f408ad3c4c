package mmdb

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2/mmdbdata"

	"github.com/edge-proxy/edge/internal/match/geo"
)

// record is what is of use in a record of a database.
type record struct {
	texts [geo.ASN]string
	ranks [geo.ASN]uint8 // of the members that the texts come from
	asn   uint32
	steps int // members that were looked at
}

// stepsMax is how many members of a record are looked at: pointers may make more of few bytes.
const stepsMax = 4096

// errLarge is what a record with more has.
var errLarge = errors.New("it has too many members")

// member is a member of a record: a value, or a map or a list that has others.
type member struct {
	field  geo.Field
	rank   uint8 // of several members for one field the one with the highest rank counts; 0: it is no value
	inside map[string]*member
}

// members are those that are looked at, by their names; 0 is the first element of a list.
var members = func() map[string]*member {
	all := make(map[string]*member)
	for _, m := range []struct {
		path  string
		field geo.Field
		rank  uint8
	}{
		{"country.iso_code", geo.Country, 3}, {"country_code", geo.Country, 2}, {"country", geo.Country, 1},
		{"continent.code", geo.Continent, 3}, {"continent_code", geo.Continent, 2}, {"continent", geo.Continent, 1},
		{"subdivisions.0.iso_code", geo.Region, 5}, {"subdivisions.0.names.en", geo.Region, 4},
		{"region_code", geo.Region, 3}, {"region", geo.Region, 2}, {"state1", geo.Region, 1},
		{"city.names.en", geo.City, 2}, {"city", geo.City, 1},
		{"autonomous_system_number", geo.ASN, 2}, {"asn", geo.ASN, 1},
		{"autonomous_system_organization", geo.Organization, 3}, {"as_name", geo.Organization, 2},
		{"as_org", geo.Organization, 1},
	} {
		at, in := (*member)(nil), all
		for name := range strings.SplitSeq(m.path, ".") {
			if in[name] == nil {
				in[name] = &member{inside: make(map[string]*member)}
			}
			at, in = in[name], in[name].inside
		}
		at.field, at.rank = m.field, m.rank
	}
	return all
}()

// UnmarshalMaxMindDBCursor reads a record. It goes no deeper than members do.
func (r *record) UnmarshalMaxMindDBCursor(c mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	return r.read(c, &member{inside: members})
}

// read reads what is at c, and returns what comes after it.
func (r *record) read(c mmdbdata.Cursor, m *member) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return c, err
	}
	switch {
	case kind == mmdbdata.KindMap && len(m.inside) > 0:
		return r.readMap(c, m)
	case kind == mmdbdata.KindSlice && m.inside["0"] != nil:
		return r.readFirst(c, m.inside["0"])
	case kind == mmdbdata.KindString && m.rank > 0:
		text, next, err := c.ReadString()
		if err == nil {
			r.set(m, text)
		}
		return next, err
	case m.rank > 0 && m.field == geo.ASN && (kind == mmdbdata.KindUint16 || kind == mmdbdata.KindUint32 ||
		kind == mmdbdata.KindUint64):
		n, next, err := c.ReadUint()
		if err == nil && n <= math.MaxUint32 {
			r.asn = uint32(n)
		}
		return next, err
	}
	return c.Skip()
}

func (r *record) readMap(c mmdbdata.Cursor, m *member) (next mmdbdata.Cursor, err error) {
	all, err := c.Map()
	if err != nil {
		return c, err
	}
	for {
		name, value, more := all.Next(next)
		if !more {
			return all.End()
		}
		if next, err = r.step(value, m.inside[string(name)]); err != nil {
			return next, err
		}
	}
}

// readFirst reads the first value of a list, and skips the others.
func (r *record) readFirst(c mmdbdata.Cursor, m *member) (next mmdbdata.Cursor, err error) {
	all, err := c.Slice()
	if err != nil {
		return c, err
	}
	for {
		_, value, more := all.Next(next)
		if !more {
			return all.End()
		}
		if next, err = r.step(value, m); err != nil {
			return next, err
		}
		m = nil
	}
}

// step reads one of several values, or skips it where m is nil.
func (r *record) step(c mmdbdata.Cursor, m *member) (next mmdbdata.Cursor, err error) {
	if m != nil {
		next, err = r.read(c, m)
	} else {
		next, err = c.Skip()
	}
	if r.steps++; err == nil && r.steps > stepsMax {
		err = errLarge
	}
	return next, err
}

// set takes a text for a field. "-" and "ZZ" are how databases write that they do not know.
func (r *record) set(m *member, text string) {
	text = strings.TrimSpace(text)
	switch {
	case text == "" || text == "-":
		return
	case m.field == geo.ASN:
		if n, err := strconv.ParseUint(strings.TrimPrefix(text, "AS"), 10, 32); err == nil && r.asn == 0 {
			r.asn = uint32(n)
		}
		return
	case m.field <= geo.Continent && (!isCode(text) || text == "ZZ"):
		return // the name of a country, where there is a code beside it
	}
	if m.rank >= r.ranks[m.field] {
		r.texts[m.field], r.ranks[m.field] = text, m.rank
	}
}

// isCode reports whether text is two upper-case letters.
func isCode(text string) bool {
	return len(text) == 2 && text[0]-'A' < 26 && text[1]-'A' < 26
}
