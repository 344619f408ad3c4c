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

// Add adds every number of more to the same one of sum. A gauge with the tag tally:"max" becomes the larger of the two.
// Add does not allocate where all are counters.
func Add[S any](sum, more *S) { add(reflect.ValueOf(sum).Elem(), reflect.ValueOf(more).Elem(), whole) }

// SubCounters takes the counters of less off the counters of sum, which are at least as high.
func SubCounters[S any](sum, less *S) {
	add(reflect.ValueOf(sum).Elem(), reflect.ValueOf(less).Elem(), taken)
}

// AddCounters is Add for counters only. It is for what has ended: what it has counted stays, its gauges do not.
func AddCounters[S any](sum, more *S) {
	add(reflect.ValueOf(sum).Elem(), reflect.ValueOf(more).Elem(), counters)
}

const (
	whole    = iota // counters and gauges are added
	counters        // counters are added
	taken           // counters are taken off
)

func add(sum, more reflect.Value, how int) {
	switch {
	case sum.Kind() == reflect.Struct:
		for i := range sum.NumField() {
			to, from := sum.Field(i), more.Field(i)
			if how == whole && to.CanInt() && sum.Type().Field(i).Tag.Get("tally") == "max" {
				to.SetInt(max(to.Int(), from.Int()))
			} else {
				add(to, from, how)
			}
		}
	case sum.Kind() == reflect.Array:
		for i := range sum.Len() {
			add(sum.Index(i), more.Index(i), how)
		}
	case sum.CanUint() && how == taken:
		sum.SetUint(sum.Uint() - more.Uint())
	case sum.CanUint():
		sum.SetUint(sum.Uint() + more.Uint())
	case !sum.CanInt():
		panic(fmt.Sprintf("tally: %v is no number", sum.Type()))
	case how == whole:
		sum.SetInt(sum.Int() + more.Int())
	}
}
