/// One value for each kind of turn.
public struct ByKind<Value> {
    public var stream: Value
    public var chat: Value
    public var batch: Value

    public init(stream: Value, chat: Value, batch: Value) {
        self.stream = stream
        self.chat = chat
        self.batch = batch
    }

    public init(repeating value: Value) { self.init(stream: value, chat: value, batch: value) }

    public subscript(kind: Turn.Kind) -> Value {
        get {
            switch kind {
            case .stream: stream
            case .chat: chat
            case .batch: batch
            }
        }
        set {
            switch kind {
            case .stream: stream = newValue
            case .chat: chat = newValue
            case .batch: batch = newValue
            }
        }
    }
}

extension ByKind: Sendable where Value: Sendable {}
extension ByKind: Equatable where Value: Equatable {}
extension ByKind: Encodable where Value: Encodable {}
extension ByKind: Decodable where Value: Decodable {}

extension Turn.Kind {
    /// The order in which kinds get places at nodes.
    public static let byUrgency: [Turn.Kind] = [.stream, .chat, .batch]
}
