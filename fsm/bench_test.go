package fsm

import (
	"fmt"
	"testing"

	"holdline/fsm/pb"
)

// commandsPerEntry is what group commit gathers under load.
const commandsPerEntry = 50

// BenchmarkRegister applies refreshes: how the cost grows with the number of registrations.
func BenchmarkRegister(b *testing.B) {
	for _, phones := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(phones), func(b *testing.B) {
			l := newLoad(b, phones)
			l.register(phones)
			var log [][]byte
			for i := 0; len(log)*commandsPerEntry < b.N; {
				batch := &pb.Batch{}
				for range commandsPerEntry {
					i = (i + 7919) % phones
					batch.Commands = append(batch.Commands, l.registration(i))
				}
				log = append(log, l.encode(batch))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, e := range log {
				l.apply(e)
			}
		})
	}
}

// BenchmarkCall applies a whole call: create, answer, end, with its row's expiry after.
func BenchmarkCall(b *testing.B) {
	for _, held := range []uint64{1_000, 100_000} {
		b.Run(fmt.Sprint(held, " held"), func(b *testing.B) {
			l := newLoad(b, 0)
			l.establish(held)
			var log [][]byte
			for next := held; int(next-held) < b.N; {
				create, answer, end := &pb.Batch{}, &pb.Batch{}, &pb.Batch{}
				for range commandsPerEntry {
					next++
					create.Commands = append(create.Commands, benchCreate(next))
					answer.Commands = append(answer.Commands, benchAnswer(next))
					end.Commands = append(end.Commands, benchEnd(next))
				}
				l.time += 1000
				expire := &pb.Batch{Commands: []*pb.Command{cmd(&pb.Expire{UpToMs: l.time})}}
				log = append(log, l.encode(create), l.encode(answer), l.encode(end), l.encode(expire))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, e := range log {
				l.apply(e)
			}
		})
	}
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
