package wire

import "testing"

func benchScan(b *testing.B, raw []byte) {
	var m Msg
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Scan(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScanInvite(b *testing.B)   { benchScan(b, sampleInvite()) }
func BenchmarkScanOK(b *testing.B)       { benchScan(b, sampleOK()) }
func BenchmarkScanRegister(b *testing.B) { benchScan(b, sampleRegister()) }
