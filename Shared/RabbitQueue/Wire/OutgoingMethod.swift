/// The AMQP 0-9-1 methods that we send.
enum OutgoingMethod: Sendable {
    case connectionStartOk(user: String, password: Password, clientName: String)
    case connectionTuneOk(frameMaximum: Int, heartbeatSeconds: Int)
    case connectionOpen(virtualHost: String)
    case connectionClose(code: Int, text: String)
    case connectionCloseOk
    case channelOpen
    case channelClose
    case channelFlowOk(active: Bool)
    case channelCloseOk
    case queueDeclare(QueueDeclaration)
    case queueDeclarePassive(name: String)
    case queueDelete(name: String)
    case confirmSelect
    case basicQos(prefetch: UInt16)
    case basicConsume(queue: String, consumerTag: String)
    case basicCancel(consumerTag: String)
    case basicAck(deliveryTag: UInt64, multiple: Bool)
    case basicReject(deliveryTag: UInt64, requeue: Bool)
    case basicNack(deliveryTag: UInt64, multiple: Bool, requeue: Bool)
}
