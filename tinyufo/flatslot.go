package tinyufo

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"unsafe"
)

// A slot holds one entry in words that are only read and written atomically:
//
//	word 0        63…32 the last one to four bytes of the value │ 31…2 version │ 1…0 state
//	then          the key, rounded up to 8 bytes
//	then          the value without what is in word 0, rounded up to 8 bytes
//
// A writer makes the slot busy, writes the rest, and makes it live with the next version. A reader that has found a
// live slot reads the rest, and then word 0 once more: when it is the same, all was written before the first look.
// That fails only for a reader that stops meanwhile for exactly 2^30 writes of the slot.
const (
	slotFree  = 0
	slotBusy  = 1
	slotLive  = 2
	stateMask = 3

	versionMask = 1<<32 - 1 - stateMask
	tailShift   = 32
)

// begun is word 0 while a slot is written, after it was word.
func begun(word uint64) uint64 { return (word+stateMask+1)&versionMask | slotBusy }

// slotBytes is the size of a slot. The sizes are constants of each instance.
func slotBytes[K, V any]() uintptr {
	return 8 + (unsafe.Sizeof(*new(K))+7)&^7 + (unsafe.Sizeof(*new(V))+3)&^7
}

// keyAt and valueAt are where the words of a key and of a value begin.
func keyAt(slot *sharedWord) *sharedWord {
	return (*sharedWord)(unsafe.Add(unsafe.Pointer(slot), 8)) // SAFETY: within slotBytes
}

func valueAt[K any](slot *sharedWord) *sharedWord {
	return (*sharedWord)(unsafe.Add(unsafe.Pointer(slot), 8+(unsafe.Sizeof(*new(K))+7)&^7)) // SAFETY: within slotBytes
}

// equalsKey reports whether key is the one in a slot, as == does.
func equalsKey[K comparable](slot *sharedWord, key K) bool {
	var other K
	loadWords(&other, keyAt(slot), false, 0)
	return other == key
}

// loadWords reads x from the words that begin at from. Its last one to four bytes are in tail, if tailed is true.
func loadWords[T any](x *T, from *sharedWord, tailed bool, tail uint32) {
	// SAFETY: the bytes of x that are written are below its size, and T has no pointers. The words are the words of a
	// slot, which has as many as T needs.
	n := unsafe.Sizeof(*x)
	to, first := unsafe.Pointer(x), unsafe.Pointer(from)
	for at := uintptr(0); at+8 <= n; at += 8 {
		word := (*sharedWord)(unsafe.Add(first, at)).Load()
		binary.NativeEndian.PutUint64((*[8]byte)(unsafe.Add(to, at))[:], word)
	}
	rest := n % 8
	if rest == 0 {
		return
	}
	var last [8]byte
	if tailed && rest <= 4 {
		binary.NativeEndian.PutUint32(last[:], tail)
	} else {
		binary.NativeEndian.PutUint64(last[:], (*sharedWord)(unsafe.Add(first, n-rest)).Load())
	}
	copy(unsafe.Slice((*byte)(unsafe.Add(to, n-rest)), rest), last[:])
}

// storeWords writes x to the words that begin at to. Its last one to four bytes are the tail, if tailed is true.
func storeWords[T any](to *sharedWord, x *T, tailed bool) (tail uint32) {
	// SAFETY: as in loadWords.
	n := unsafe.Sizeof(*x)
	from, first := unsafe.Pointer(x), unsafe.Pointer(to)
	for at := uintptr(0); at+8 <= n; at += 8 {
		word := binary.NativeEndian.Uint64((*[8]byte)(unsafe.Add(from, at))[:])
		(*sharedWord)(unsafe.Add(first, at)).Store(word)
	}
	rest := n % 8
	if rest == 0 {
		return 0
	}
	var last [8]byte
	copy(last[:], unsafe.Slice((*byte)(unsafe.Add(from, n-rest)), rest))
	if tailed && rest <= 4 {
		return binary.NativeEndian.Uint32(last[:])
	}
	(*sharedWord)(unsafe.Add(first, n-rest)).Store(binary.NativeEndian.Uint64(last[:]))
	return 0
}

// findPointer says where in a type there is a pointer, as "field Name is a string"; it returns "" when there is none.
func findPointer(t reflect.Type, path string) string {
	switch t.Kind() {
	case reflect.Array:
		if t.Len() == 0 {
			return ""
		}
		return findPointer(t.Elem(), path+"[0]")
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if found := findPointer(f.Type, path+"."+f.Name); found != "" {
				return found
			}
		}
		return ""
	case reflect.Pointer, reflect.UnsafePointer, reflect.String, reflect.Slice, reflect.Map, reflect.Chan, reflect.Func,
		reflect.Interface:
		return fmt.Sprintf("%s is of type %s", path, t)
	}
	return ""
}

// mustBeFlat panics when a type has pointers.
func mustBeFlat[T any](what string) {
	t := reflect.TypeFor[T]()
	if found := findPointer(t, t.String()); found != "" {
		panic(fmt.Sprintf("tinyufo: Flat needs a %s without pointers, and %s; Cache takes it", what, found))
	}
}
