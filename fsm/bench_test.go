package fsm

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"holdline/fsm/pb"
)

// commandsPerEntry is what group commit gathers under load.
const commandsPerEntry = 50

// BenchmarkRegister applies refreshes: how the cost grows with the number of registrations.
func BenchmarkRegister(b *testing.B) {
	for _, phones := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(phones), func(b *testing.B) {
			l := newLoad(b, phones)
			l.log = nil
			l.register(phones)
			i := 0
			l.bench(b, func() (es [][]byte) {
				for range 50 {
					batch := &pb.Batch{}
					for range commandsPerEntry {
						i = (i + 7919) % phones
						batch.Commands = append(batch.Commands, l.registration(i))
					}
					l.time += 5
					es = append(es, l.encode(batch))
				}
				return es
			}, 50*commandsPerEntry)
		})
	}
}

// BenchmarkCall applies a whole call: create, answer, end, with its row's expiry after.
func BenchmarkCall(b *testing.B) {
	for _, held := range []uint64{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(held, " held"), func(b *testing.B) {
			l := newLoad(b, 0)
			l.establish(held)
			next := held
			l.bench(b, func() [][]byte {
				create, answer, end := &pb.Batch{}, &pb.Batch{}, &pb.Batch{}
				for range commandsPerEntry {
					next++
					create.Commands = append(create.Commands, benchCreate(next))
					answer.Commands = append(answer.Commands, benchAnswer(next))
					end.Commands = append(end.Commands, benchEnd(next))
				}
				l.time += 1000
				expire := &pb.Batch{Commands: []*pb.Command{cmd(&pb.Expire{UpToMs: l.time})}}
				return [][]byte{l.encode(create), l.encode(answer), l.encode(end), l.encode(expire)}
			}, commandsPerEntry)
		})
	}
}

// bench applies what encode gives, some operations in a few entries, and reports the processor time of applying alone, the part
// of garbage collection included that allocating is made to do. On the clock it would be other programs' time too.
func (l *load) bench(b *testing.B, encode func() [][]byte, operations int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runtime.GC()
	var spent []float64 // ns an operation
	for done := 0; done < b.N; done += operations {
		es := encode()
		start := threadTime(b)
		for _, e := range es {
			l.apply(e)
		}
		spent = append(spent, float64(threadTime(b)-start)/float64(operations))
	}
	slices.Sort(spent)
	b.ReportMetric(spent[len(spent)/2], "cpu-ns/op") // the median
	b.ReportMetric(0, "ns/op")
}

func BenchmarkReads(b *testing.B) {
	const phones = 100_000
	l := newLoad(b, phones)
	l.register(phones)
	aors := make([]string, 1000)
	for i := range aors {
		aors[i] = phone(i * 97)
	}
	var dst []Binding
	i := 0
	b.Run("bindings", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			i++
			if dst = l.Bindings(aors[i%len(aors)], dst[:0]); len(dst) != 1 {
				b.Fatal("not registered")
			}
		}
	})
	b.Run("user", func(b *testing.B) {
		b.ReportAllocs()
		c := l.Config()
		for b.Loop() {
			i++
			if c.User(aors[i%len(aors)]) == nil {
				b.Fatal("no user")
			}
		}
	})
}
