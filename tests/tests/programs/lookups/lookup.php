<?php
// Looks names up in PHP; one line for each argument KIND:NAME (see languages.rs).
function look_up(string $kind, string $name): array|false
{
    switch ($kind) {
        case 'all':
            $found = @socket_addrinfo_lookup($name, '80', ['ai_socktype' => SOCK_STREAM]);
            return $found === false ? false : array_map(function ($each) {
                $address = socket_addrinfo_explain($each)['ai_addr'];
                return $address['sin_addr'] ?? $address['sin6_addr'];
            }, $found);
        case 'v4':
            $found = gethostbynamel($name);
            if ($found !== false && !in_array(gethostbyname($name), $found, true)) {
                throw new Exception('another address');
            }
            return $found;
        case 'reverse':
            $host = gethostbyaddr($name);
            return $host === $name ? false : [$host];
        case 'there':
            return checkdnsrr($name, 'A') ? ['there'] : false;
        default:
            $types = ['a' => DNS_A, 'aaaa' => DNS_AAAA, 'srv' => DNS_SRV];
            $found = @dns_get_record($name, $types[$kind]);
            return $found === false || $found === [] ? false : array_map(
                fn ($each) => $each['ip'] ?? $each['ipv6'] ??
                    "{$each['pri']} {$each['weight']} {$each['port']} {$each['target']}",
                $found
            );
    }
}

foreach (array_slice($argv, 1) as $argument) {
    [$kind, $name] = explode(':', $argument, 2);
    $found = look_up($kind, $name);
    echo $argument, ' ', $found === false ? '! nothing' : implode(' ', $found), "\n";
}
