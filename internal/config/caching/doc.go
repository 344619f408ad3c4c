// Package caching has the keys of the HTTP cache in edge.toml: the section [cache] of the process, and the key cache of
// routes, of [defaults] and of rules, as rows of the schema. It stores nothing: package server makes a cache of them.
//
//	[cache]              Of        the cache of the process
//	cache of [defaults]  OfRoute   holds for all routes
//	cache of [[routes]]  OfRoute   goes before it, key by key; false turns caching off, true or a table turns it on
//	cache of rules       Choices   goes before both, key by key, for the requests that the rule holds for
//	headers.request      Fields    the fields of requests to backends whose values are part of the key
//
// # Life cycle
//
// The sections are registered with package config, which reads them with the rest of a file. When routes, upstreams and
// the language of texts are known, check completes the entries: a route takes over the keys that it leaves to
// [defaults], the templates of its key are compiled, and mistakes are reported at their places.
//
// # Which routes are cached
//
// A route is cached as its own cache says, else as [defaults] says; a rule may say otherwise for a request. [defaults]
// and [[rules]] are not for routes that lead to no backend or whose dest has variables: a cache of their own has no
// effect there, or is an error.
package caching
