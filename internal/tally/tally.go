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
func Add[S any](sum, more *S) { add(reflect.ValueOf(sum).Elem(), reflect.ValueOf(more).Elem(), true) }

// AddCounters is Add for counters only. It is for what has ended: what it has counted stays, its gauges do not.
func AddCounters[S any](sum, more *S) {
	add(reflect.ValueOf(sum).Elem(), reflect.ValueOf(more).Elem(), false)
}

func add(sum, more reflect.Value, gauges bool) {
	switch {
	case sum.Kind() == reflect.Struct:
		for i := range sum.NumField() {
			to, from := sum.Field(i), more.Field(i)
			if gauges && to.CanInt() && sum.Type().Field(i).Tag.Get("tally") == "max" {
				to.SetInt(max(to.Int(), from.Int()))
			} else {
				add(to, from, gauges)
			}
		}
	case sum.Kind() == reflect.Array:
		for i := range sum.Len() {
			add(sum.Index(i), more.Index(i), gauges)
		}
	case sum.CanUint():
		sum.SetUint(sum.Uint() + more.Uint())
	case !sum.CanInt():
		panic(fmt.Sprintf("tally: %v is no number", sum.Type()))
	case gauges:
		sum.SetInt(sum.Int() + more.Int())
	}
}
