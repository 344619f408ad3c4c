package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config/schema"
)

// File is a file that a key names.
type File struct {
	Key  string // within the table of its entry; with the section's path where there is one alone: "log.output"
	Pos  Pos    // of the entry; zero: unknown
	Path string // as it is written; not empty
	Use  string // "read", "write", "log" or "page": the tag "file" of the key

	Restart bool // the key takes effect when the process starts again
}

// Files returns the files that keys of c name, by their uses. "stdout", InternalCert and names of [log_sinks], which
// stand in place of paths, are among them.
func (c *Config) Files(uses ...string) []File {
	f := fileFinder{uses: uses, plans: make(map[reflect.Type]*filePlan)}
	f.look(reflect.ValueOf(c).Elem(), File{})
	return f.all
}

type fileFinder struct {
	uses  []string
	plans map[reflect.Type]*filePlan
	all   []File
	pace  yield.Pace
}

// filePlan is what there is to look at in structs of one type: there may be 10,000s of them, with dozens of fields.
type filePlan struct {
	pos    int // the index of the field Pos; below 0: there is none
	fields []fileField
}

// fileField is a field that is, or has, the name of a file.
type fileField struct {
	index    int
	key, use string
	restart  bool
}

// look finds the files of v, which stands at in.
func (f *fileFinder) look(v reflect.Value, in File) {
	switch v.Kind() {
	case reflect.String:
		in.Key = strings.Replace(in.Key, "access_log.path", "access_log", 1) // which stands for its path
		if in.Path = v.String(); in.Path != "" && slices.Contains(f.uses, in.Use) {
			f.all = append(f.all, in)
		}
	case reflect.Slice:
		for i := range v.Len() {
			f.look(v.Index(i), in)
		}
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return
		}
		if t, isEntry := v.Interface().(schema.Target); isEntry {
			in.Key = schema.SectionOf(t).Name()
		}
		f.look(v.Elem(), in)
	case reflect.Struct:
		plan := f.planOf(v.Type())
		if plan.pos >= 0 { // it is an entry
			f.pace.Step()
			in.Pos = v.Field(plan.pos).Interface().(Pos)
		}
		for _, field := range plan.fields {
			at := in
			at.Key, at.Use, at.Restart = strings.Trim(in.Key+"."+field.key, "."), field.use, field.restart
			f.look(v.Field(field.index), at)
		}
	}
}

// planOf returns the plan of a struct. The plan of a type inside itself has no fields while it is made.
func (f *fileFinder) planOf(t reflect.Type) *filePlan {
	plan := f.plans[t]
	if plan != nil {
		return plan
	}
	plan = &filePlan{pos: -1}
	isEntry := reflect.PointerTo(t).Implements(reflect.TypeFor[schema.Target]()) // it may know the entry around it
	f.plans[t] = plan
	for i := range t.NumField() {
		field := t.Field(i)
		tag := field.Tag.Get
		if field.Name == "Pos" && field.Type == reflect.TypeFor[Pos]() {
			plan.pos = i
		}
		_, isKey := field.Tag.Lookup("edge")
		follow := tag("json") != "-" && (isKey || field.Anonymous || !isEntry)
		if field.IsExported() && (tag("file") != "" || follow && f.mayName(field.Type)) {
			plan.fields = append(plan.fields, fileField{i, tag("edge"), tag("file"), tag("restart") == "true"})
		}
	}
	return plan
}

// mayName reports whether values of a type may have names of files inside.
func (f *fileFinder) mayName(t reflect.Type) bool {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Interface || t.Kind() == reflect.Struct && len(f.planOf(t).fields) > 0
}
