package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// defaultsFile has one of each kind with nothing set. Its golden prints all fields.
const defaultsFile = "testdata/valid/defaults.toml"

// object is an object of JSON, whose members keep their order.
type object []member

type member struct {
	key   string
	value any // an object, []any, string, json.Number, bool or nil
}

func (o object) get(key string) (any, bool) {
	for _, m := range o {
		if m.key == key {
			return m.value, true
		}
	}
	return nil, false
}

// found returns what was found in the file at path: the summary of c, the report, and fields of c with other values
// than defaultsFile gives.
func found(t *testing.T, path string, c *Config, rep *Report) []byte {
	t.Helper()
	text := rendered(t, rep)
	if c == nil {
		return []byte(text)
	}
	all := tree(c)
	if path != defaultsFile {
		all = changes("", defaults()[""], all)
	}
	return fmt.Appendf(nil, "%s\n%s%s\n", c.Summary(), text, treeText(all, ""))
}

// tree returns c as its JSON has it, with each Pos as one string.
func tree(c *Config) object {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return nextTree(d).(object)
}

func nextTree(d *json.Decoder) any {
	token, err := d.Token()
	if err != nil {
		panic(err)
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			list = append(list, nextTree(d))
		}
		d.Token()
		return list
	case json.Delim('{'):
		o := object{}
		for d.More() {
			key, _ := d.Token()
			o = append(o, member{key.(string), nextTree(d)})
		}
		d.Token()
		if len(o) == 3 && o[0].key == "file" {
			return fmt.Sprintf("%s:%s:%s", o[0].value, o[1].value, o[2].value)
		}
		return o
	}
	return token
}

// Keys of the fields whose values in defaultsFile are its own, and no defaults.
var ownKeys = []string{
	"Listeners", "Services", "Upstreams", "Routes", "Relays", "Defined", "Name", "Pos", "Network", "Path", "PathKind",
	"Text", "Unix", "Dest",
}

// defaults returns the first object at each path in the configuration of defaultsFile, without its own names and
// addresses. An element has the path of its list; "" is the whole configuration.
var defaults = sync.OnceValue(func() map[string]object {
	src, err := os.ReadFile(defaultsFile)
	if err != nil {
		panic(err)
	}
	first := make(map[string]object)
	var collect func(path string, v any)
	collect = func(path string, v any) {
		switch v := v.(type) {
		case []any:
			for _, element := range v {
				collect(path, element)
			}
		case object:
			if _, found := first[path]; !found {
				first[path] = slices.DeleteFunc(slices.Clone(v), func(m member) bool {
					return slices.Contains(ownKeys, m.key)
				})
			}
			for _, m := range v {
				if _, is := m.value.(object); !is || !slices.Contains(ownKeys, m.key) {
					collect(path+"."+m.key, m.value)
				}
			}
		}
	}
	c, _ := Parse(defaultsFile, src)
	collect("", tree(c))
	return first
})

// changes returns the members of the object o at path that differ from the member of the same name in base; a member
// that only base has is null. A member that is zero and not in base is left out.
func changes(path string, base, o object) object {
	changed := object{}
	for _, m := range o {
		was, known := base.get(m.key)
		if known && reflect.DeepEqual(was, m.value) || !known && isZero(m.value) {
			continue
		}
		changed = append(changed, member{m.key, change(path+"."+m.key, was, m.value)})
	}
	for _, m := range base {
		if _, kept := o.get(m.key); !kept {
			changed = append(changed, member{m.key, nil})
		}
	}
	return changed
}

// change returns v at path with the changes of its objects: from was, or else from the first object at that path.
func change(path string, was, v any) any {
	switch v := v.(type) {
	case []any:
		list := []any{}
		for _, element := range v {
			list = append(list, change(path, nil, element))
		}
		return list
	case object:
		base, is := was.(object)
		if !is {
			base = defaults()[path]
		}
		return changes(path, base, v)
	}
	return v
}

func isZero(v any) bool {
	switch v := v.(type) {
	case object:
		for _, m := range v {
			if !isZero(m.value) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return v == nil || v == "" || v == false || v == json.Number("0")
}

const lineWidth = 110

// treeText writes v on one line where that is short, else with a line for each member or element.
func treeText(v any, indent string) string {
	inner := indent + "  "
	brackets, parts := "[]", []string{}
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return strconv.Quote(v)
	case []any:
		for _, element := range v {
			parts = append(parts, treeText(element, inner))
		}
	case object:
		brackets = "{}"
		for _, m := range v {
			parts = append(parts, m.key+": "+treeText(m.value, inner))
		}
	default:
		return fmt.Sprint(v)
	}
	line := brackets[:1] + strings.Join(parts, ", ") + brackets[1:]
	if len(indent)+len(line) <= lineWidth && !strings.Contains(line, "\n") {
		return line
	}
	return brackets[:1] + "\n" + inner + strings.Join(parts, "\n"+inner) + "\n" + indent + brackets[1:]
}
