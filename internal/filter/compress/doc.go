// Package compress has filters of the type "compress", which compress the bodies of answers: package
// internal/filter/encode as filters.
//
// A filter is asked when the head of an answer is ready, after Response of all filters: what these say of Content-Type
// and Cache-Control counts. It compresses answers of the proxy's own as well. Of several filters the first that
// compresses does.
//
// # Concurrency
//
// The filter is immutable and runs on the reactor. An answer that stays as it is costs a walk over its fields and no
// allocation. The encoders of a reactor, 16 for each filter, stay over a reload, by the name of the filter.
package compress
