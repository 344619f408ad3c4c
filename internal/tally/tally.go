// Package tally adds up structs of counters.
//
// Such a struct has fields that are numbers, arrays of numbers, and structs of the same kind. An unsigned number is a
// counter, which only grows. A signed one is a gauge, which says how things stand. What else a struct holds is a
// mistake in the program and panics.
//
// It works by reflection: it is for reports and for the end of a connection, not for every request.
package tally

import (
	"fmt"
	"reflect"
)

// Add adds every number of more to the same one of sum. A signed one with the tag tally:"max" becomes the larger of
// the two. It does not allocate where all are counters.
func Add[S any](sum, more *S) { add(reflect.ValueOf(sum).Elem(), reflect.ValueOf(more).Elem(), false) }

func add(sum, more reflect.Value, largest bool) {
	switch {
	case sum.Kind() == reflect.Struct:
		for i := range sum.NumField() {
			add(sum.Field(i), more.Field(i), sum.Field(i).CanInt() && sum.Type().Field(i).Tag.Get("tally") == "max")
		}
	case sum.Kind() == reflect.Array:
		for i := range sum.Len() {
			add(sum.Index(i), more.Index(i), false)
		}
	case sum.CanUint():
		sum.SetUint(sum.Uint() + more.Uint())
	case largest:
		sum.SetInt(max(sum.Int(), more.Int()))
	case sum.CanInt():
		sum.SetInt(sum.Int() + more.Int())
	default:
		panic(fmt.Sprintf("tally: %v is no number", sum.Type()))
	}
}

// DropGauges sets every gauge of s to 0: what has been counted by something that is gone stays, how it stood does not.
func DropGauges[S any](s *S) { dropGauges(reflect.ValueOf(s).Elem()) }

func dropGauges(s reflect.Value) {
	switch {
	case s.Kind() == reflect.Struct:
		for i := range s.NumField() {
			dropGauges(s.Field(i))
		}
	case s.CanInt():
		s.SetInt(0)
	}
}
