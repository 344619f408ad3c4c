// Package list is a doubly linked list through links that its elements hold, so that an element goes in and out without
// an allocation, and from any place.
//
// A Node is a field of what it stands for. It is in one List at most, and knows in which:
//
//	type waiter struct {
//		place list.Node[waiter]
//	}
//
//	var queue list.List[waiter]
//	queue.PushBack(&w.place, w)
//	for w := queue.First(); w != nil; w = w.place.Next() {
//		…
//	}
//	w.place.Remove()
//
// An element that is in two lists at a time has two Nodes. Nothing here locks: a List and the Nodes of its elements
// belong to one goroutine, or to the lock that guards them.
//
// Spare and Buffers keep unused elements and buffers for later.
//
// What is moved for each request has links of its own, without the pointers of a Node to its List and its element: the
// streams of h2, the connections of pool.
package list

import "fmt"

// List is a list of elements T. The zero value is empty.
//
//	first == nil <=> last == nil <=> size == 0
//	n in the list <=> n.in is the list, and n is found from first by next and from last by prev
type List[T any] struct {
	first, last *Node[T]
	size        int
}

// Node is the place of an element in a List, or in none. The zero value is in none. It must not be copied while it is
// in a list.
type Node[T any] struct {
	in         *List[T]
	of         *T
	prev, next *Node[T]
}

// Len returns how many elements l has.
func (l *List[T]) Len() int { return l.size }

// First returns the first element, nil when l is empty.
func (l *List[T]) First() *T { return l.first.element() }

// Last returns the last element, nil when l is empty.
func (l *List[T]) Last() *T { return l.last.element() }

// Next returns the element after the element of n, nil when there is none.
func (n *Node[T]) Next() *T { return n.next.element() }

// Listed reports whether n is in a list.
func (n *Node[T]) Listed() bool { return n.in != nil }

// In reports whether n is in l.
func (n *Node[T]) In(l *List[T]) bool { return n.in == l }

func (n *Node[T]) element() *T {
	if n == nil {
		return nil
	}
	return n.of
}

// Check returns which invariant of List does not hold, nil when all do. It walks all of l: for the walkers of its
// owners, and for tests.
func (l *List[T]) Check() error {
	var prev *Node[T]
	size := 0
	for n := l.first; n != nil; prev, n = n, n.next {
		if n.prev != prev || n.in != l || n.of == nil {
			return fmt.Errorf("the element at place %d is linked wrongly", size)
		}
		size++
	}
	if l.last != prev || l.size != size {
		return fmt.Errorf("%d elements in a list of %d, or another is the last", size, l.size)
	}
	return nil
}

// PushBack puts of, whose node is n, at the end. n is in no list before.
func (l *List[T]) PushBack(n *Node[T], of *T) {
	*n = Node[T]{in: l, of: of, prev: l.last}
	if l.last != nil {
		l.last.next = n
	} else {
		l.first = n
	}
	l.last = n
	l.size++
}

// PushFront puts of, whose node is n, at the beginning. n is in no list before.
func (l *List[T]) PushFront(n *Node[T], of *T) {
	*n = Node[T]{in: l, of: of, next: l.first}
	if l.first != nil {
		l.first.prev = n
	} else {
		l.last = n
	}
	l.first = n
	l.size++
}

// Remove takes n out of its list and reports whether it was in one.
func (n *Node[T]) Remove() bool {
	l := n.in
	if l == nil {
		return false
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		l.last = n.prev
	}
	l.size--
	*n = Node[T]{}
	return true
}
