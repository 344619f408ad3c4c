# Before the files go: edge ends as by systemctl stop.
if [ -d /run/systemd/system ]; then
	systemctl disable --now edge.socket edge.service || true
fi
