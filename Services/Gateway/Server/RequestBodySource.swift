import Hummingbird
import NIOCore

/// A long request body on its way from its connection to whoever reads it: more is read from the socket only as there is
/// room. On the connection's thread.
final class RequestBodySource {
    private typealias Producer = NIOThrowingAsyncSequenceProducer<
        ByteBuffer, any Error, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, Delegate
    >

    /// Hears from the reader's task.
    private struct Delegate: NIOAsyncSequenceProducerDelegate {
        let eventLoop: any EventLoop
        let onRoom: @Sendable () -> Void

        func produceMore() { eventLoop.execute(onRoom) }
        func didTerminate() { eventLoop.execute(onRoom) }
    }

    let body: RequestBody
    private let source: Producer.Source
    private let room: NIOLoopBoundBox<Bool>

    /// Whether the next bytes may be read.
    var hasRoom: Bool { room.value }

    /// - Parameter onRoom: called on the connection's thread when there is room again.
    init(eventLoop: any EventLoop, onRoom: @escaping @Sendable () -> Void) {
        let room = NIOLoopBoundBox(true, eventLoop: eventLoop)
        let sequence = Producer.makeSequence(
            // Reads of up to 64 KiB.
            backPressureStrategy: .init(lowWatermark: 1, highWatermark: 2), finishOnDeinit: true,
            delegate: Delegate(eventLoop: eventLoop) {
                room.value = true
                onRoom()
            })
        self.room = room
        source = sequence.source
        body = RequestBody(asyncSequence: sequence.sequence)
    }

    func feed(_ bytes: ByteBuffer) {
        // Dropped when the reader has gone: the rest is read for the sake of the next request.
        if case .stopProducing = source.yield(bytes) { room.value = false }
    }

    /// - Parameter error: why the body ends early.
    func finish(_ error: (any Error)?) {
        if let error { source.finish(error) } else { source.finish() }
    }
}
