"""Threads beside the engine's that are none: their calls are made at once, or only when somebody waits for them."""

from streamer.engine.device.cpu_stream import PendingCall


class LonelyStream:
    """A stream that takes part in no call of another thread."""

    def invite(self, join):
        pass

    def take_joined_s(self):
        return 0.0


class PromptStream(LonelyStream):
    """A stream that makes each call as soon as it is launched."""

    def launch(self, call, commit, num_steps=1):
        pending = PendingCall(call, commit, num_steps)
        pending.make()
        return pending


class HeldStream(LonelyStream):
    """A stream that makes its calls only when somebody waits for them."""

    def launch(self, call, commit, num_steps=1):
        return HeldCall(call, commit, num_steps)


class HeldCall(PendingCall):
    """A call of a `HeldStream`."""

    def wait(self):
        if not self.is_done():
            self.make()

    def finish(self):
        self.wait()
        super().finish()
