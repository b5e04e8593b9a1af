package netlab

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// inBox runs a shell line in the box.
func inBox(t *testing.T, s *Space, line string) (string, error) {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := s.Start(cmd); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	return strings.TrimSpace(out.String()), err
}

func TestDiskIsFullAndFreeAgain(t *testing.T) {
	_, a, _ := pair(t)
	dir := t.TempDir()
	if err := a.MountDisk(dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	write := "dd if=/dev/zero of=" + dir + "/x bs=4096 count=4"
	if out, err := inBox(t, a.Space, write); err != nil {
		t.Fatalf("on a disk with room: %v: %s", err, out)
	}
	if err := a.FillDisk(dir, 100<<10); err != nil {
		t.Fatal(err)
	}
	if err := a.FillDisk(dir, 0); err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(write, "/x", "/y", 1)
	if out, err := inBox(t, a.Space, more); err == nil || !strings.Contains(out, "No space left") {
		t.Errorf("on a full disk: %v: %s", err, out)
	}
	if err := a.FreeDisk(dir); err != nil {
		t.Fatal(err)
	}
	if out, err := inBox(t, a.Space, more); err != nil {
		t.Errorf("after it was freed: %v: %s", err, out)
	}
	if out, err := exec.Command("ls", dir).Output(); err != nil || len(out) > 0 {
		t.Errorf("outside of the box the directory has %q, %v", out, err)
	}
}

func TestSyncsAreHeldUp(t *testing.T) {
	_, a, _ := pair(t)
	y, err := a.HoldSyncs()
	if err != nil {
		t.Fatal(err)
	}
	sync := "dd if=/dev/zero of=" + t.TempDir() + "/x bs=1 count=1 conv=fsync 2>&1"
	took := func() time.Duration {
		t.Helper()
		start := time.Now()
		if out, err := inBox(t, a.Space, sync); err != nil {
			t.Fatal(err, out)
		}
		return time.Since(start)
	}
	took()
	if n := y.Held(); n != 0 {
		t.Errorf("%d syncs held before they were to be", n)
	}
	y.Delay(300 * time.Millisecond)
	if d := took(); d < 300*time.Millisecond || y.Held() != 1 {
		t.Errorf("took %v with %d held; want 300 ms at least, and one", d, y.Held())
	}
	y.Delay(0)
	took()
	if n := y.Held(); n != 1 {
		t.Errorf("%d syncs held in all; want 1", n)
	}
}
