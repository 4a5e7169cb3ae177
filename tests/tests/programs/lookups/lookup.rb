# Looks names up in Ruby; one line for each argument KIND:NAME (see languages.rs).
require 'socket'

def look_up(kind, name)
  case kind
  when 'all' then Addrinfo.getaddrinfo(name, 80).map(&:ip_address).uniq
  when 'v4' then Addrinfo.getaddrinfo(name, nil, :INET, :STREAM).map(&:ip_address)
  when 'reverse'
    host, = Addrinfo.tcp(name, 80).getnameinfo(Socket::NI_NAMEREQD)
    [host]
  end
end

ARGV.each do |argument|
  kind, name = argument.split(':', 2)
  puts "#{argument} #{look_up(kind, name).join(' ')}"
rescue SocketError => e
  puts "#{argument} ! #{e.message}"
end
