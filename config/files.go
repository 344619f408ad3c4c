package config

import (
	"reflect"
	"slices"
	"strings"
)

// File is a file that a key names.
type File struct {
	Key  string // within the table of its entry
	Pos  Pos    // of the entry; zero: nobody knows
	Path string // as it is written; not empty
	Use  string // "read", "write", "log" or "page": the tag "file" of the key

	Restart bool // the key takes effect when the process starts again
}

// Files returns the files that keys of c name, by their uses. "stdout", InternalCert and names of [log_sinks], which
// stand in place of paths, are among them.
func (c *Config) Files(uses ...string) []File {
	f := fileFinder{uses: uses, named: make(map[reflect.Type]bool)}
	f.look(reflect.ValueOf(c).Elem(), File{})
	return f.all
}

type fileFinder struct {
	uses  []string
	named map[reflect.Type]bool // whether values of a type may name files
	all   []File
}

// look finds the files of v, which stands at in.
func (f *fileFinder) look(v reflect.Value, in File) {
	switch v.Kind() {
	case reflect.String:
		in.Key = strings.TrimSuffix(in.Key, ".path") // access_log stands for its path
		if in.Path = v.String(); in.Path != "" && slices.Contains(f.uses, in.Use) {
			f.all = append(f.all, in)
		}
	case reflect.Slice:
		for i := range v.Len() {
			f.look(v.Index(i), in)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			f.look(v.Elem(), in)
		}
	case reflect.Struct:
		if pos := v.FieldByName("Pos"); pos.IsValid() {
			in.Pos, _ = pos.Interface().(Pos)
		}
		for i := range v.NumField() {
			if field := v.Type().Field(i); f.mayName(field) {
				at := in
				at.Key, at.Use = strings.Trim(in.Key+"."+field.Tag.Get("edge"), "."), field.Tag.Get("file")
				at.Restart = field.Tag.Get("restart") == "true"
				f.look(v.Field(i), at)
			}
		}
	}
}

// mayName reports whether a field is, or has, the name of a file: there may be 10,000s of others.
func (f *fileFinder) mayName(field reflect.StructField) bool {
	if !field.IsExported() || field.Tag.Get("json") == "-" && field.Tag.Get("file") == "" {
		return false
	}
	t := field.Type
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	named, known := f.named[t]
	if t.Kind() != reflect.Struct || known {
		return named || t.Kind() == reflect.Interface || field.Tag.Get("file") != ""
	}
	f.named[t] = false // where t is inside itself
	for i := range t.NumField() {
		f.named[t] = f.named[t] || f.mayName(t.Field(i))
	}
	return f.named[t]
}
