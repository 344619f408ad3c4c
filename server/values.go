package server

import (
	"reflect"
	"slices"
	"strings"
)

// constant returns the constant of type T for the word in a field of c, which points to a struct of package config. The
// tag "enum" of the field has the words in the order of the constants, of which the first is 0.
func constant[T ~uint8](c any, field *string) T {
	of := reflect.ValueOf(c).Elem()
	for i := range of.NumField() {
		if f := of.Field(i); f.CanInterface() && f.Addr().Interface() == any(field) {
			return T(max(slices.Index(strings.Fields(of.Type().Field(i).Tag.Get("enum")), *field), 0))
		}
	}
	panic("server: the field is not one of the struct")
}

// orNone translates none, which is 0 in a configuration and -1 in options.
func orNone[N int | int64](n N) N {
	if n == 0 {
		return -1
	}
	return n
}
