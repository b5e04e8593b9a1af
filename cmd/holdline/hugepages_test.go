package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestHeapHuge: a heap that is large enough goes into huge pages and nothing in it changes; a smaller one is left alone.
func TestHeapHuge(t *testing.T) {
	mode, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil || strings.Contains(string(mode), "[never]") {
		t.Skipf("this kernel gives no huge pages: %s %v", mode, err)
	}
	size, err := hugePageSize()
	if err != nil {
		t.Fatal(err)
	}
	const mb = 1 << 20
	heap := make([][]byte, 64)
	for i := range heap {
		heap[i] = make([]byte, mb)
		for j := range heap[i] {
			heap[i][j] = byte(i + j)
		}
	}
	huge := func() (bytes uint64) {
		t.Helper()
		all, err := os.ReadFile("/proc/self/smaps_rollup")
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(string(all), "AnonHugePages:")
		if _, err := fmt.Sscan(line, &bytes); err != nil { // kB
			t.Fatalf("%s: %v", all, err)
		}
		return bytes << 10
	}
	if done, err := collapseHeap(t.Context(), size, 1<<40); done != 0 || err != nil {
		t.Errorf("small heap: %d bytes, %v", done, err)
	}
	done, err := collapseHeap(t.Context(), size, 32*mb)
	if err != nil {
		t.Errorf("large heap: %v", err)
	}
	if is := huge(); done < 48*mb || is < uint64(done) {
		t.Errorf("%d bytes of huge pages, %d by what it says", is, done)
	}
	for i := range heap {
		for j := range heap[i] {
			if heap[i][j] != byte(i+j) {
				t.Fatalf("octet %d of MB %d has changed", j, i)
			}
		}
	}
	runtime.KeepAlive(heap)
}
