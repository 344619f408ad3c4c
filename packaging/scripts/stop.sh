# Before the files go: edge ends as by systemctl stop, and does not start again.
if [ -d /run/systemd/system ]; then
	systemctl disable --now edge.socket edge.service || true
fi
