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

	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/plugin/tags"
	"github.com/edge-proxy/edge/lang"
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

// Text is a text that is never shown, such as a password. A file quotes it from elsewhere: "${file:/run/secrets/x}" or
// "${NAME}". string(t) is the text.
type Text string

// String hides t.
func (t Text) String() string { return tags.Hidden }

// GoString hides t.
func (t Text) GoString() string { return tags.Hidden }

// LogValue hides t.
func (t Text) LogValue() slog.Value { return slog.StringValue(tags.Hidden) }

// MarshalText hides t.
func (t Text) MarshalText() ([]byte, error) { return []byte(tags.Hidden), nil }

// PerDay returns how often something may be in a day.
func (r Rate) PerDay() int64 {
	per := int64(max(r.Per, 1))
	if int64(r.Count) > math.MaxInt64/int64(24*time.Hour) {
		return math.MaxInt64
	}
	return int64(r.Count) * int64(24*time.Hour) / per
}

// ParsePerDay reads a bound of rates.
func ParsePerDay(s string) (int64, bool) {
	r, err := ParseRate(s)
	return r.PerDay(), err == nil
}

// Source is a text of the language for a field, a *lang.Condition or a *lang.Template. It is compiled once it is known
// what it may name.
type Source struct {
	Text     string
	Phases   lang.Phases
	Template bool
}

// String returns the text.
func (s Source) String() string { return s.Text }

// Compile returns a *lang.Condition or a *lang.Template.
func (s Source) Compile(in *lang.Scope) (any, error) {
	if s.Template {
		return in.Template(s.Text, s.Phases)
	}
	return in.Condition(s.Text, s.Phases)
}

// phases are the values of the tag "phase".
var phases = map[string]lang.Phases{"": lang.Content, "connection": lang.Connection, "request": lang.Content,
	"answer": lang.Answer, "log": lang.Log}

// SourceOf returns the Source of a field without its text; false: the field is for something else.
func SourceOf(f reflect.StructField) (s Source, found bool) {
	s.Template = f.Type == reflect.TypeFor[*lang.Template]()
	if !s.Template && f.Type != reflect.TypeFor[*lang.Condition]() {
		return s, false
	}
	in, known := phases[f.Tag.Get("phase")]
	if !known {
		panic(fmt.Sprintf("plugin: field %s: the phases are connection, request, answer and log", f.Name))
	}
	s.Phases = in
	return s, true
}

// valuesOf returns the tags.Values of fields of types that this package adds to the types of package tags.
func valuesOf(f reflect.StructField) any {
	if s, isSource := SourceOf(f); isSource {
		return tags.Values{Parse: func(text string) (any, error) { s.Text = text; return s, nil }}
	}
	if f.Type == reflect.TypeFor[Rate]() {
		return tags.Values{Number: ParsePerDay, Parse: func(s string) (any, error) { return ParseRate(s) }}
	}
	return nil
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

// known are the rows of structs, by their types.
var known sync.Map

// rowsOf returns the rows of a struct, and what is wrong with its tags.
func rowsOf(of reflect.Type) ([]*tags.Row, error) {
	if rows, found := known.Load(of); found {
		return rows.([]*tags.Row), nil
	}
	rows, err := tags.Held(of, valuesOf)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if preset, ok := r.Preset.(Source); ok {
			if r.Preset, err = preset.Compile(scope()); err != nil {
				return nil, fmt.Errorf("default of %q: %w", r.Path, err)
			}
		}
	}
	known.Store(of, rows)
	return rows, nil
}
