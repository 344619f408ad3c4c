package plugin

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy/variables"
)

// Rate is how often something may be: 100/s, 5/m, 1000/h. The zero value is none.
type Rate struct {
	Count int
	Per   time.Duration
}

// units are the times that a rate is about.
var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// ParseRate reads a rate as a file writes it.
func ParseRate(s string) (Rate, error) {
	count, unit, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(count, 10, 31)
	per := units[unit]
	if err != nil || n == 0 || per == 0 {
		return Rate{}, errRate
	}
	return Rate{int(n), per}, nil
}

var errRate = errors.New(`a rate is written "100/s", "5/m", "1000/h" or "20000/d"`)

// String returns the rate as a file writes it.
func (r Rate) String() string {
	for unit, per := range units {
		if r.Per == per {
			return strconv.Itoa(r.Count) + "/" + unit
		}
	}
	return fmt.Sprintf("%d in %v", r.Count, r.Per)
}

// MarshalText makes the rate readable in JSON.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Text is a text that nobody is shown, such as a password. A file quotes it from elsewhere: "${file:/run/secrets/x}" or
// "${NAME}". string(t) is the text.
type Text string

// String hides t.
func (t Text) String() string { return schema.Hidden }

// GoString hides t.
func (t Text) GoString() string { return schema.Hidden }

// LogValue hides t.
func (t Text) LogValue() slog.Value { return slog.StringValue(schema.Hidden) }

// MarshalText hides t.
func (t Text) MarshalText() ([]byte, error) { return []byte(schema.Hidden), nil }

// typeRate is the type of keys for a Rate.
var typeRate = schema.Type{Name: "rate", Number: perDay,
	Parse: func(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
		s, ok := d.String(n, `a rate, as "100/s"`)
		if !ok {
			return nil, false
		}
		rate, err := ParseRate(s)
		if err != nil {
			d.Report.Errorf(n.Value, `write it as "100/s", "5/m" or "1000/h"`, "%q must be a rate, not %s", n.Key,
				syntax.Quote(s))
			return nil, false
		}
		if err := k.AllowsNumber(rate.perDay()); err != nil {
			d.Report.Errorf(n.Value, "", "%q: %v", n.Key, err)
			return nil, false
		}
		return rate, true
	}}

func (r Rate) perDay() int64 {
	per := int64(max(r.Per, 1))
	if int64(r.Count) > math.MaxInt64/int64(24*time.Hour) {
		return math.MaxInt64
	}
	return int64(r.Count) * int64(24*time.Hour) / per
}

// perDay reads a bound of rates.
func perDay(s string) (int64, bool) {
	r, err := ParseRate(s)
	return r.perDay(), err == nil
}

// phases are the values of the tag "phase".
var phases = map[string]lang.Phases{"": lang.Request, "connection": lang.Connection, "request": lang.Request,
	"answer": lang.Answer, "log": lang.Log}

// fieldTypes returns the types of fields that this package adds to those of schema.Struct.
func fieldTypes(f reflect.StructField) (of schema.FieldType, found bool) {
	switch f.Type {
	case reflect.TypeFor[Rate]():
		return schema.FieldType{Type: typeRate, Plain: true}, true
	case reflect.TypeFor[Text]():
		return schema.FieldType{Type: schema.String, Plain: true, Secret: true}, true
	case reflect.TypeFor[*lang.Condition]():
		return sourceType(plugins.ConditionType, f), true
	case reflect.TypeFor[*lang.Template]():
		return sourceType(plugins.TemplateType, f), true
	}
	return of, false
}

// sourceType returns the type of a text of the language.
func sourceType(of func(lang.Phases) schema.Type, f reflect.StructField) schema.FieldType {
	in, known := phases[f.Tag.Get("phase")]
	if !known {
		panic(fmt.Sprintf("plugin: field %s: the phases are connection, request, answer and log", f.Name))
	}
	return schema.FieldType{Type: of(in), Plain: true, Set: func(field reflect.Value, v any) {
		if _, isSource := v.(plugins.Source); !isSource { // that one is compiled later
			field.Set(reflect.ValueOf(v))
		}
	}}
}

// Condition compiles a condition that is evaluated in some phases, for a program that makes a configuration itself. It
// names no list, no map and no secret: these are of a configuration file.
func Condition(text string, in lang.Phases) (*lang.Condition, error) {
	return scope().Condition(text, in)
}

// Template is Condition for a template.
func Template(text string, in lang.Phases) (*lang.Template, error) { return scope().Template(text, in) }

// scope has what texts may name that a program makes.
var scope = sync.OnceValue(func() *lang.Scope {
	s, err := variables.Scope(lang.Names{})
	if err != nil {
		panic("plugin: " + err.Error())
	}
	return s
})

// known are the keys of structs, by their types.
var known sync.Map

// keysOf returns the keys of a struct, and what is wrong with its tags.
func keysOf(of reflect.Type) ([]*schema.Key, error) {
	if keys, found := known.Load(of); found {
		return keys.([]*schema.Key), nil
	}
	keys, err := schema.Struct(of, fieldTypes)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if preset, ok := k.Preset().(plugins.Source); ok {
			if _, err := preset.Compile(scope()); err != nil {
				return nil, fmt.Errorf("default of %q: %w", k.Path, err)
			}
		}
	}
	known.Store(of, keys)
	return keys, nil
}
