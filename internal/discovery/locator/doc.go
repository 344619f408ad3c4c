// Package locator reads the texts that say where the backends of a service are found: "srv+dns://users.example". Some
// of them also say where an instance of a service is registered.
//
// It is text alone: nothing is opened and nothing is asked. A configuration checks a text by it, and package discovery
// lists them and makes the source. It knows no system, so that a configuration can be checked on any.
//
// A program may have schemes of its own, whose texts have the form scheme://host/path?name=value. What these parts mean
// is up to the maker of the source; Parse only cuts the text.
//
// Parse reads a text once, when a configuration is read; a Locator is immutable. Names have up to 253 bytes, in labels
// of up to 63 (RFC 1035 §2.3.4), and may have underscores (RFC 2782). Parse is safe for any goroutine.
package locator
